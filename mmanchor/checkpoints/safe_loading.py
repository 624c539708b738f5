"""Loading checkpoints that anybody may have written."""

import argparse
import functools
import os
import re
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from mmengine.runner import CheckpointLoader
from mmengine.runner.checkpoint import load_from_local

from .run_checkpoints import run_checkpoints_allowed

FLAG = '--allow-code-in-checkpoints'
FLAG_ADVICE = f'add `{FLAG}`'  # of tools that have the flag
_FORCE = 'TORCH_FORCE_WEIGHTS_ONLY_LOAD'
# what to do to load code all the same; tools say how it is done with them
_advice = ContextVar('advice', default='pass `allow_code=True`')
# PyTorch stores what it saves; a few times more is a checkpoint that somebody
# compressed
_MAX_INFLATED, _MAX_RATIO = 2**30, 10


def add_trust_flag(parser: argparse.ArgumentParser) -> None:
    """Add ``--allow-code-in-checkpoints`` to a tool."""
    parser.add_argument(
        FLAG,
        action='store_true',
        help='load checkpoints that hold more than weights and what MMEngine '
        'saves with them; they can run any code: only from whom you trust',
    )


@contextmanager
def checkpoint_loading(
    allow_code: bool = False, advice: str | None = None
) -> Iterator[None]:
    """Let MMEngine load checkpoints without running code from them.

    The host's loaders may fall back to unpickling, which runs what a file
    says, or never do anything else. For a while they don't, wherever a
    checkpoint comes from.

    Args:
        allow_code (bool): Load whatever a local file holds, by unpickling.
            Defaults to False.
        advice (str, optional): What errors say to do if the file is trusted;
            nothing if it is empty. Defaults to None: what they say already.

    Example:
        >>> with checkpoint_loading():
        ...     pass
    """
    before = dict(CheckpointLoader._schemes)
    token = _advice.set(_advice.get() if advice is None else advice)
    for prefix, loader in before.items():
        host = getattr(loader, 'host', loader)  # of another such context
        if host is load_from_local:
            loader = functools.partial(load_local, allow_code=allow_code)
            loader.__name__ = load_from_local.__name__  # it is logged
        else:
            loader = host if allow_code else _weights_only(host)
        if loader is not host:
            loader.host = host
        CheckpointLoader.register_scheme(prefix, loader, force=True)
    try:
        yield
    finally:
        _advice.reset(token)
        for prefix, loader in before.items():
            CheckpointLoader.register_scheme(prefix, loader, force=True)


def load_checkpoint(path: str, allow_code: bool = False) -> Any:
    """Load a checkpoint from wherever MMEngine can, on the CPU.

    Args:
        path (str): A file, or what else MMEngine fetches.
        allow_code (bool): Run the code it holds, if any. Defaults to False.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It holds code, or can't be read.
    """
    with checkpoint_loading(allow_code):
        return CheckpointLoader.load_checkpoint(path, 'cpu', 'silent')


def check_inflation(path: str) -> None:
    """Refuse a small file that would fill the memory.

    Args:
        path (str): A file.

    Raises:
        ValueError: It is a zip file of many times its own size.
    """
    try:
        with zipfile.ZipFile(path) as file:
            inflated = sum(entry.file_size for entry in file.infolist())
    except (OSError, zipfile.BadZipFile, NotImplementedError):
        return  # whether it is whole is not the question here
    size = os.path.getsize(path)
    if inflated > max(_MAX_INFLATED, _MAX_RATIO * size):
        raise ValueError(
            f'Expected a checkpoint as PyTorch writes it, but {path} ({size} '
            f'bytes) would inflate to {inflated} bytes. Use another; one that '
            'was compressed has to be unpacked and saved again.'
        )


def load_local(
    path: str,
    map_location=None,
    allow_code: bool = False,
    more: Sequence[type] = (),
):
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
            f'Expected a checkpoint file, but there is none at {path}.'
        )
    check_inflation(path)
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
        checkpoint.get('meta'), dict
    ):
        checkpoint['meta'].pop('config', None)
    return checkpoint


def _refusal(path, error) -> str:
    wanted = re.search(r'GLOBAL (\S+)', str(error))
    if wanted is None:
        # PyTorch puts advice before it that leads to running code
        cause = error.__context__ or error
        reason = str(cause) or type(cause).__name__
        return (
            'Expected weights and what MMEngine saves with them in '
            f'{path}, but it could not be read: {reason.splitlines()[0]}'
        )
    advice = _advice.get()
    return (
        'Expected weights and what MMEngine saves with them, but '
        f'{path} asks for {wanted[1]}: loading it can run code. Use '
        'another checkpoint.'
        + (f' If you trust whoever wrote it, {advice}.' if advice else '')
    )
