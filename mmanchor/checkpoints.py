"""Loading what MMEngine saves with PyTorch's weights-only unpickler."""
import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from mmengine.runner import checkpoint
from torch.torch_version import TorchVersion

try:
    from numpy._core import multiarray
except ImportError:  # NumPy 1
    from numpy.core import multiarray

_STATISTICS = ('min', 'max', 'current', 'mean')


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
    return [
        HistoryBuffer, np.ndarray, np.dtype,
        multiarray._reconstruct, multiarray.scalar,
        (_history_buffer_method, 'builtins.getattr'), *dtypes
    ]


def allow_run_checkpoints() -> None:
    """Let ``torch.load`` read MMEngine's checkpoints on PyTorch >= 2.6.

    The maintained fork sees to it itself; upstream's MMEngine can't load its
    own checkpoints otherwise.
    """
    if (not hasattr(checkpoint, 'get_torch_safe_globals')
            and torch.__version__ >= TorchVersion('2.6')):
        torch.serialization.add_safe_globals(safe_globals())


def _history_buffer_method(owner, name):
    """In place of ``getattr``, which would give away anything."""
    if owner is not HistoryBuffer or name not in _STATISTICS:
        raise ValueError(
            f'Expected a checkpoint to ask for {", ".join(_STATISTICS)} of '
            f'HistoryBuffer only, but it asks for {name!r} of {owner!r}. It '
            'was not written by MMEngine: don\'t load it.')
    return getattr(HistoryBuffer, name)
