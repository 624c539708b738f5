"""Loading what MMEngine saves with PyTorch's weights-only unpickler."""

import math
from collections.abc import Sequence
from contextlib import contextmanager

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from mmengine.optim.scheduler.param_scheduler import OneCycleParamScheduler
from mmengine.runner import checkpoint
from torch.torch_version import TorchVersion

try:
    from numpy._core import multiarray
except ImportError:  # NumPy 1
    from numpy.core import multiarray

# of NumPy's own pickles: bool, integers and floats of a fixed size
_KINDS = (
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
# what may be asked of a class by name: an owner's own plain functions
_ATTRIBUTES = {
    HistoryBuffer: ('min', 'max', 'current', 'mean'),
    OneCycleParamScheduler: ('_annealing_cos', '_annealing_linear'),
}


def safe_globals() -> list:
    """What MMEngine's checkpoints hold besides weights.

    Returns:
        list: For ``torch.serialization.safe_globals``. Nothing in it runs
        code of the checkpoint's choice.

    Example:
        >>> HistoryBuffer in safe_globals()
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
        *_ATTRIBUTES,
        (_attribute, 'builtins.getattr'),
        (_Array, 'numpy.ndarray'),
        (_PlainDtype, 'numpy.dtype'),
        *arrays,
    ]


class _PlainDtype:
    """In place of ``np.dtype``, whose ``__setstate__`` believes anything.

    It takes over names, fields and flags as they come, so that bytes of the
    file can become pointers.
    """

    def __init__(self, kind=None, align=False, copy=True):
        if type(kind) is not str or kind not in _KINDS:
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
    """In place of ``np.ndarray``; it is saved as one again."""

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
            or not _is_made(dtype)
            or type(content) is not bytes
            or len(content) != math.prod(shape) * dtype.numpy.itemsize
        ):
            raise _unexpected('an array of another form than NumPy writes')
        super().__setstate__((1, shape, dtype.numpy, bool(fortran), content))

    def __reduce_ex__(self, protocol):
        return self.view(np.ndarray).__reduce_ex__(protocol)


def _reconstruct(kind=None, *_):
    """In place of NumPy's, which makes arrays of any class."""
    if kind is not _Array:
        raise _unexpected('an array of a class of its own')
    return _Array()


def _scalar(dtype=None, content=None):
    """In place of NumPy's, which takes a pointer as a number's bytes."""
    if (
        not _is_made(dtype)
        or type(content) is not bytes
        or len(content) != dtype.numpy.itemsize
    ):
        raise _unexpected('a number of another form than NumPy writes')
    return np.frombuffer(content, dtype.numpy)[0]


def _is_made(dtype) -> bool:
    # `__init__` may not have run
    return type(dtype) is _PlainDtype and hasattr(dtype, 'kind')


def _unexpected(what: str) -> ValueError:
    return ValueError(
        'Expected plain numbers and arrays of them, as MMEngine '
        f'saves them, but got {what}. It was not written by '
        "MMEngine: don't load it."
    )


@contextmanager
def run_checkpoints_allowed(more: Sequence[type] = ()):
    """Let ``torch.load`` read MMEngine's checkpoints for a while.

    What was allowed before stays so, which torch's own context manager would
    undo. NumPy's own functions and ``getattr`` are left out meanwhile: ours
    have their names.

    Args:
        more (Sequence[type]): Other classes that may be in one. Making an
            object of them has to be harmless, whatever it is made of.
            Defaults to none.
    """
    before = torch.serialization.get_safe_globals()
    fork = getattr(checkpoint, 'get_torch_safe_globals', None)
    _allow(
        [one for one in before if not _is_replaced(one)]
        + [*safe_globals(), *more]
    )
    if fork is not None:  # its list has all of NumPy's and `getattr`
        checkpoint.get_torch_safe_globals = safe_globals
    try:
        yield
    finally:
        _allow(before)
        if fork is not None:
            checkpoint.get_torch_safe_globals = fork


def _allow(what: Sequence) -> None:
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


def allow_run_checkpoints() -> None:
    """Let ``torch.load`` read MMEngine's checkpoints on PyTorch >= 2.6.

    The maintained fork sees to it itself; upstream's MMEngine can't load its
    own checkpoints otherwise.
    """
    if not hasattr(
        checkpoint, 'get_torch_safe_globals'
    ) and torch.__version__ >= TorchVersion('2.6'):
        torch.serialization.add_safe_globals(safe_globals())


def _attribute(owner, name):
    """In place of ``getattr``, which would give away anything."""
    if owner not in _ATTRIBUTES or name not in _ATTRIBUTES[owner]:
        raise ValueError(
            "Expected a checkpoint to ask for methods of the log's history "
            f'and of schedulers only, but it asks for {name!r} of {owner!r}. '
            "It was not written by MMEngine: don't load it."
        )
    return getattr(owner, name)
