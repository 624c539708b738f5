"""Loads checkpoints that anybody may have written without running their code.

PyTorch's weights-only unpickler refuses most of what MMEngine saves besides
weights. The first half of this file lists what it may build, with our own safe
stand-ins where the original could be misused. The second half makes all
loaders of MMEngine go through that unpickler.
"""

import argparse
import functools
import math
import os
import re
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from mmengine.optim.scheduler.param_scheduler import OneCycleParamScheduler
from mmengine.runner import CheckpointLoader
from mmengine.runner import checkpoint as mmengine_checkpoint
from mmengine.runner.checkpoint import load_from_local
from torch.torch_version import TorchVersion

try:
    from numpy._core import multiarray
except ImportError:  # NumPy 1
    from numpy.core import multiarray

# The names by which NumPy pickles its types of bool, integers and floats.
_PLAIN_DTYPES = (
    'b1',
    'i1',
    'i2',
    'i4',
    'i8',
    'u1',
    'u2',
    'u4',
    'u8',
    'f2',
    'f4',
    'f8',
)
# Checkpoints refer to these methods, which are plain functions, by name.
_ALLOWED_ATTRIBUTES = {
    HistoryBuffer: ('min', 'max', 'current', 'mean'),
    OneCycleParamScheduler: ('_annealing_cos', '_annealing_linear'),
}


def mmengine_safe_globals() -> list:
    """List what MMEngine's checkpoints contain besides weights.

    Returns:
        list: Classes and functions for ``torch.serialization.safe_globals``.
        None of them runs code that a checkpoint chooses.

    Example:
        >>> HistoryBuffer in mmengine_safe_globals()
        True
    """
    arrays = [
        (function, f'numpy.{core}.multiarray.{name}')
        for core in ('core', '_core')  # of NumPy 1 and 2
        for name, function in (
            ('_reconstruct', _reconstruct),
            ('scalar', _scalar),
        )
    ]
    return [
        *_ALLOWED_ATTRIBUTES,
        (_get_attribute, 'builtins.getattr'),
        (_Array, 'numpy.ndarray'),
        (_PlainDtype, 'numpy.dtype'),
        *arrays,
    ]


class _PlainDtype:
    """Stands in for ``np.dtype``, whose ``__setstate__`` checks nothing.

    The original accepts any names, fields and flags, so that a crafted file
    can make NumPy use bytes of the file as pointers.
    """

    def __init__(self, kind=None, align=False, copy=True):
        if type(kind) is not str or kind not in _PLAIN_DTYPES:
            raise _unexpected(f'the dtype {kind!r}')
        self.kind, self.order = kind, '='

    def __setstate__(self, state):
        plain = (
            type(state) is tuple
            and len(state) == 8
            and all(type(one) in (int, str, type(None)) for one in state)
        )
        if (
            not plain
            or state[0] != 3
            or state[1] not in ('<', '>', '=', '|')
            or state[2:] != (None, None, None, -1, -1, 0)
        ):
            raise _unexpected(
                'a dtype with fields, flags or a size of its own'
            )
        self.order = state[1]

    @property
    def numpy(self) -> np.dtype:
        return np.dtype(self.kind).newbyteorder(self.order)


class _Array(np.ndarray):
    """Stands in for ``np.ndarray``, and pickles as one again."""

    def __new__(cls, *args):
        return super().__new__(cls, (0,), np.uint8)

    def __setstate__(self, state):
        version, shape, dtype, fortran, content = (
            state if type(state) is tuple and len(state) == 5 else [None] * 5
        )
        if (
            version != 1
            or type(shape) is not tuple
            or len(shape) > 32
            or not all(type(n) is int and n >= 0 for n in shape)
            or not _is_initialised(dtype)
            or type(content) is not bytes
            or len(content) != math.prod(shape) * dtype.numpy.itemsize
        ):
            raise _unexpected('an array of another form than NumPy writes')
        super().__setstate__((1, shape, dtype.numpy, bool(fortran), content))

    def __reduce_ex__(self, protocol):
        return self.view(np.ndarray).__reduce_ex__(protocol)


def _reconstruct(kind=None, *_):
    """Stands in for NumPy's function, which makes arrays of any class."""
    if kind is not _Array:
        raise _unexpected('an array of a class of its own')
    return _Array()


def _scalar(dtype=None, content=None):
    """Stands in for NumPy's function, which can read bytes as a pointer."""
    if (
        not _is_initialised(dtype)
        or type(content) is not bytes
        or len(content) != dtype.numpy.itemsize
    ):
        raise _unexpected('a number of another form than NumPy writes')
    return np.frombuffer(content, dtype.numpy)[0]


def _is_initialised(dtype) -> bool:
    # A crafted pickle can create the object without calling `__init__`.
    return type(dtype) is _PlainDtype and hasattr(dtype, 'kind')


def _unexpected(what: str) -> ValueError:
    return ValueError(
        'Expected plain numbers and arrays of them, as MMEngine saves them, '
        f"but got {what}. MMEngine did not write it: don't load it."
    )


@contextmanager
def mmengine_checkpoints_allowed(more: Sequence[type] = ()):
    """Let ``torch.load`` read MMEngine's checkpoints inside this context.

    Globals that the user allowed before stay allowed; torch's own context
    manager would drop them. NumPy's own functions and ``getattr`` are not
    allowed inside, because our stand-ins use their names.

    Args:
        more (Sequence[type]): Further classes that checkpoints may contain.
            Creating an object of them must be harmless for any arguments.
            Defaults to none.
    """
    before = torch.serialization.get_safe_globals()
    fork = getattr(mmengine_checkpoint, 'get_torch_safe_globals', None)
    _set_safe_globals(
        [one for one in before if not _is_replaced(one)]
        + [*mmengine_safe_globals(), *more]
    )
    if fork is not None:  # its own list has `getattr` and NumPy's functions
        mmengine_checkpoint.get_torch_safe_globals = mmengine_safe_globals
    try:
        yield
    finally:
        _set_safe_globals(before)
        if fork is not None:
            mmengine_checkpoint.get_torch_safe_globals = fork


def _set_safe_globals(what: Sequence) -> None:
    torch.serialization.clear_safe_globals()
    torch.serialization.add_safe_globals(list(what))


def _is_replaced(one) -> bool:
    one = one[0] if isinstance(one, tuple) else one
    return one in (
        getattr,
        np.ndarray,
        np.dtype,
        multiarray._reconstruct,
        multiarray.scalar,
    ) or (isinstance(one, type) and issubclass(one, np.dtype))


def allow_mmengine_checkpoints() -> None:
    """Let ``torch.load`` read MMEngine's checkpoints, for the whole process.

    This concerns upstream's MMEngine on PyTorch >= 2.6, which cannot load its
    own checkpoints. The maintained fork needs no help.
    """
    if not hasattr(
        mmengine_checkpoint, 'get_torch_safe_globals'
    ) and torch.__version__ >= TorchVersion('2.6'):
        torch.serialization.add_safe_globals(mmengine_safe_globals())


def _get_attribute(owner, name):
    """Stands in for ``getattr``, which would return any attribute."""
    if (
        owner not in _ALLOWED_ATTRIBUTES
        or name not in _ALLOWED_ATTRIBUTES[owner]
    ):
        raise ValueError(
            "Expected a checkpoint to refer to methods of the log's history "
            f'and of schedulers only, but got {name!r} of {owner!r}. '
            "MMEngine did not write it: don't load it."
        )
    return getattr(owner, name)


FLAG = '--allow-code-in-checkpoints'
FLAG_ADVICE = f'add `{FLAG}`'  # the advice of tools that have the flag
_FORCE = 'TORCH_FORCE_WEIGHTS_ONLY_LOAD'
# How error messages tell the user to load code all the same. Tools replace it
# with their flag.
_advice = ContextVar('advice', default='pass `allow_code=True`')
# PyTorch saves without compression. A file that inflates a few times may have
# been compressed by its owner; one that inflates more is refused.
_MAX_INFLATED, _MAX_RATIO = 2**30, 10


def add_trust_flag(parser: argparse.ArgumentParser) -> None:
    """Add ``--allow-code-in-checkpoints`` to a tool."""
    parser.add_argument(
        FLAG,
        action='store_true',
        help='load checkpoints that contain more than weights and what '
        'MMEngine saves with them. Such files can run any code: use only '
        'those of people whom you trust',
    )


@contextmanager
def checkpoint_loading(
    allow_code: bool = False, advice: str | None = None
) -> Iterator[None]:
    """Let MMEngine load checkpoints without running code from them.

    MMEngine's loaders may unpickle a file, which runs code that the file
    contains. Inside this context none of them does, wherever the checkpoint
    comes from.

    Args:
        allow_code (bool): Unpickle files, which runs any code that they
            contain. Defaults to False.
        advice (str, optional): What error messages tell users to do who trust
            the file; an empty string gives no advice. Defaults to None: the
            advice stays as it is.

    Example:
        >>> with checkpoint_loading():
        ...     pass
    """
    before = dict(CheckpointLoader._schemes)
    token = _advice.set(_advice.get() if advice is None else advice)
    for prefix, loader in before.items():
        host = getattr(loader, 'host', loader)  # undoes an outer context
        if host is load_from_local:
            loader = functools.partial(load_local, allow_code=allow_code)
            loader.__name__ = load_from_local.__name__  # MMEngine logs it
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
    """Load a checkpoint to the CPU, from anywhere that MMEngine can read.

    Args:
        path (str): A file, or a URL that MMEngine supports.
        allow_code (bool): Run any code that the checkpoint contains. Defaults
            to False, which refuses it.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file contains code, or can't be read.
    """
    with checkpoint_loading(allow_code):
        return CheckpointLoader.load_checkpoint(path, 'cpu', 'silent')


def check_inflation(path: str) -> None:
    """Raise if a small file would inflate to fill the memory.

    Raises:
        ValueError: The file is a zip archive that inflates to many times its
            size.
    """
    try:
        with zipfile.ZipFile(path) as file:
            inflated = sum(entry.file_size for entry in file.infolist())
    except (OSError, zipfile.BadZipFile, NotImplementedError):
        return  # other checks report damaged files
    size = os.path.getsize(path)
    if inflated > max(_MAX_INFLATED, _MAX_RATIO * size):
        raise ValueError(
            f'Expected a checkpoint that PyTorch wrote, but {path} ({size} '
            f'bytes) would inflate to {inflated} bytes. Use another file. If '
            'somebody compressed this one, unpack it and save it again.'
        )


def load_local(
    path: str,
    map_location=None,
    allow_code: bool = False,
    more: Sequence[type] = (),
):
    """Load a local checkpoint.

    Args:
        more (Sequence[type]): Further classes that the file may contain; see
            :func:`mmengine_checkpoints_allowed`. Defaults to none.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file contains code, or can't be read.
    """
    path = os.path.expanduser(path)
    if not os.path.isfile(path):
        raise FileNotFoundError(
            f'Expected a checkpoint file, but there is none at {path}. Change '
            'the path.'
        )
    check_inflation(path)
    if allow_code:
        return torch.load(path, map_location, weights_only=False)
    with mmengine_checkpoints_allowed(more):
        try:
            checkpoint = torch.load(path, map_location, weights_only=True)
        except Exception as error:  # the unpickler may raise anything
            raise ValueError(_refusal_message(path, error)) from error
    return _remove_config(checkpoint)


def _weights_only(load):

    @functools.wraps(load)
    def loading(path, *args, **kwargs):
        before = os.environ.get(_FORCE)
        os.environ[_FORCE] = '1'  # Overrides MMEngine's argument.
        try:
            with mmengine_checkpoints_allowed():
                return _remove_config(load(path, *args, **kwargs))
        finally:
            del os.environ[_FORCE]
            if before is not None:
                os.environ[_FORCE] = before

    return loading


def _remove_config(checkpoint):
    """Remove the config, which MMEngine would run as Python on resuming."""
    if isinstance(checkpoint, dict) and isinstance(
        checkpoint.get('meta'), dict
    ):
        checkpoint['meta'].pop('config', None)
    return checkpoint


def _refusal_message(path, error) -> str:
    wanted = re.search(r'GLOBAL (\S+)', str(error))
    if wanted is None:
        # PyTorch's own message advises to load with `weights_only=False`,
        # which runs code. The original error comes without this advice.
        cause = error.__context__ or error
        reason = str(cause) or type(cause).__name__
        return (
            f'Expected {path} to hold weights and what MMEngine saves with '
            f'them, but it could not be read: {reason.splitlines()[0]}. Use '
            'another checkpoint.'
        )
    advice = _advice.get()
    return (
        'Expected nothing but weights and what MMEngine saves with them, but '
        f'{path} asks for {wanted[1]}: loading it can run code. Use '
        'another checkpoint.'
        + (f' If you trust its author, {advice}.' if advice else '')
    )
