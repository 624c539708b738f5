"""The mask of a batch, on its way from the data preprocessor to the head."""

from collections.abc import Sequence
from operator import attrgetter

from mmpretrain.structures import DataSample

from ..functional import RowMask
from ..utils.compiling import not_compiled

_FIELD = 'reference_mask_of_batch'
_MASKED = attrgetter('reference_masked')


def carry_mask(samples: Sequence[DataSample], mask: RowMask) -> None:
    """Let a batch carry its mask, whose indices may be on the device already.

    The first sample carries it, since wrappers for several GPUs hand samples
    on as they are but make another list of them.
    """
    samples[0].set_field(mask, _FIELD, field_type='metainfo')


@not_compiled  # it would be compiled anew for every pattern
def mask_of(samples: Sequence[DataSample]) -> RowMask:
    """Which samples of a batch are masked.

    What ``reference_masked`` of the samples says counts, if it is no longer
    what :func:`carry_mask` left.

    Example:
        >>> mask_of([DataSample(), DataSample(reference_masked=True)]).rows
        [False, True]
    """
    try:  # twice as fast as asking each sample whether it has the field
        rows = list(map(_MASKED, samples))
    except AttributeError:
        rows = [getattr(one, 'reference_masked', False) for one in samples]
    carried = getattr(samples[0], _FIELD, None) if samples else None
    if carried is not None and carried.rows == rows:
        return carried
    return RowMask(map(bool, rows))
