"""Loading what MMEngine saves with PyTorch's weights-only unpickler."""
from contextlib import contextmanager
from typing import Sequence

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
    dtypes = [
        type(np.dtype(kind)) for kind in ('bool', 'int32', 'int64', 'uint32',
                                          'uint64', 'float32', 'float64')
    ]
    arrays = [
        (getattr(multiarray, name), f'numpy.{core}.multiarray.{name}')
        for core in ('core', '_core')  # of NumPy 1 and 2
        for name in ('_reconstruct', 'scalar')
    ]
    return [
        *_ATTRIBUTES, (_attribute, 'builtins.getattr'), np.ndarray, np.dtype,
        *dtypes, *arrays
    ]


@contextmanager
def run_checkpoints_allowed(more: Sequence[type] = ()):
    """Let ``torch.load`` read MMEngine's checkpoints for a while.

    What was allowed before stays so, which torch's own context manager would
    undo.

    Args:
        more (Sequence[type]): Other classes that may be in one. Making an
            object of them has to be harmless, whatever it is made of.
            Defaults to none.
    """
    before = torch.serialization.get_safe_globals()
    torch.serialization.add_safe_globals([*safe_globals(), *more])
    try:
        yield
    finally:
        torch.serialization.clear_safe_globals()
        torch.serialization.add_safe_globals(before)


def allow_run_checkpoints() -> None:
    """Let ``torch.load`` read MMEngine's checkpoints on PyTorch >= 2.6.

    The maintained fork sees to it itself; upstream's MMEngine can't load its
    own checkpoints otherwise.
    """
    if (not hasattr(checkpoint, 'get_torch_safe_globals')
            and torch.__version__ >= TorchVersion('2.6')):
        torch.serialization.add_safe_globals(safe_globals())


def _attribute(owner, name):
    """In place of ``getattr``, which would give away anything."""
    if owner not in _ATTRIBUTES or name not in _ATTRIBUTES[owner]:
        raise ValueError(
            'Expected a checkpoint to ask for methods of the log\'s history '
            f'and of schedulers only, but it asks for {name!r} of {owner!r}. '
            'It was not written by MMEngine: don\'t load it.')
    return getattr(owner, name)
