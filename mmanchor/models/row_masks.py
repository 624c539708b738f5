"""Carries the mask of a batch from the data preprocessor to the head."""

from collections.abc import Sequence
from operator import attrgetter

from mmpretrain.structures import DataSample

from ..functional import RowMask
from ..utils.pytorch import not_compiled

_FIELD = 'reference_mask_of_batch'
_MASKED = attrgetter('reference_masked')


def carry_mask(samples: Sequence[DataSample], mask: RowMask) -> None:
    """Attach the mask of a batch to its first sample.

    The mask's indices may be on the device already. A sample carries it
    rather than the list of samples, because DDP copies that list.
    """
    samples[0].set_field(mask, _FIELD, field_type='metainfo')


@not_compiled  # each mask would be compiled anew
def mask_of(samples: Sequence[DataSample]) -> RowMask:
    """Read which samples of a batch are masked.

    Where the ``reference_masked`` of samples was changed after
    :func:`carry_mask`, the samples count.

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
