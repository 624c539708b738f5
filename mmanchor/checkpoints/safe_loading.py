"""Loading checkpoints that anybody may have written."""
import argparse
import functools
import os
import re
from contextlib import contextmanager
from typing import Iterator, Sequence

import torch
from mmengine.runner import CheckpointLoader
from mmengine.runner.checkpoint import load_from_local

from .run_checkpoints import run_checkpoints_allowed

FLAG = '--allow-code-in-checkpoints'
_FORCE = 'TORCH_FORCE_WEIGHTS_ONLY_LOAD'


def add_trust_flag(parser: argparse.ArgumentParser) -> None:
    """Add ``--allow-code-in-checkpoints`` to a tool."""
    parser.add_argument(
        FLAG,
        action='store_true',
        help='load checkpoints that hold more than weights and what MMEngine '
        'saves with them; they can run any code: only from whom you trust')


@contextmanager
def checkpoint_loading(allow_code: bool = False) -> Iterator[None]:
    """Let MMEngine load checkpoints without running code from them.

    The host's loaders may fall back to unpickling, which runs what a file
    says, or never do anything else. For a while they don't, wherever a
    checkpoint comes from.

    Args:
        allow_code (bool): Load whatever a local file holds, by unpickling.
            Defaults to False.

    Example:
        >>> with checkpoint_loading():
        ...     pass
    """
    before = dict(CheckpointLoader._schemes)
    for prefix, loader in before.items():
        if loader is load_from_local:
            loader = functools.partial(load_local, allow_code=allow_code)
            loader.__name__ = load_from_local.__name__  # it is logged
        elif not allow_code:
            loader = _weights_only(loader)
        CheckpointLoader.register_scheme(prefix, loader, force=True)
    try:
        yield
    finally:
        for prefix, loader in before.items():
            CheckpointLoader.register_scheme(prefix, loader, force=True)


def load_local(path: str,
               map_location=None,
               allow_code: bool = False,
               more: Sequence[type] = ()):
    """Load a local checkpoint.

    Args:
        path (str): The file.
        map_location (str, optional): As for ``torch.load``.
        allow_code (bool): Run the code it holds, if any. Defaults to False.
        more (Sequence[type]): Classes it may hold besides; see
            :func:`~.run_checkpoints.run_checkpoints_allowed`. Defaults to
            none.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It holds code, or can't be read.
    """
    path = os.path.expanduser(path)
    if not os.path.isfile(path):
        raise FileNotFoundError(
            f'Expected a checkpoint file, but there is none at {path}.')
    if allow_code:
        return torch.load(path, map_location, weights_only=False)
    with run_checkpoints_allowed(more):
        try:
            checkpoint = torch.load(path, map_location, weights_only=True)
        except Exception as error:  # of the unpickler, whatever it met
            raise ValueError(_refusal(path, error)) from error
    return _without_config(checkpoint)


def _weights_only(load):

    @functools.wraps(load)
    def loading(path, *args, **kwargs):
        before = os.environ.get(_FORCE)
        os.environ[_FORCE] = '1'  # goes before what the host asks for
        try:
            with run_checkpoints_allowed():
                return _without_config(load(path, *args, **kwargs))
        finally:
            del os.environ[_FORCE]
            if before is not None:
                os.environ[_FORCE] = before

    return loading


def _without_config(checkpoint):
    """MMEngine runs the config of old checkpoints, as Python, on resuming."""
    if isinstance(checkpoint, dict) and isinstance(
            checkpoint.get('meta'), dict):
        checkpoint['meta'].pop('config', None)
    return checkpoint


def _refusal(path, error) -> str:
    wanted = re.search(r'GLOBAL (\S+)', str(error))
    if wanted is None:
        return ('Expected weights and what MMEngine saves with them in '
                f'{path}, but it could not be read: {error}')
    return ('Expected weights and what MMEngine saves with them, but '
            f'{path} asks for {wanted[1]}: loading it can run code. Use '
            'another checkpoint. If you trust whoever wrote it, add '
            f'`{FLAG}`.')
