"""Reference masking: which references are blanked, and how.

Source: Narayanaswamy et al., NeurIPS 2024 (arXiv 2406.00529), on reference
masking.
"""

import math
from collections.abc import Iterable

import numpy as np
import torch

from ..utils.pytorch import copy_to_device

MASK_BY = ('batch', 'sample')
MASK_COIN = ('shared', 'rank')


def draw_mask(
    batch_size: int,
    mask_prob: float,
    mask_by: str,
    generator: np.random.Generator,
) -> np.ndarray:
    """Draw which rows of a batch are masked.

    Args:
        batch_size (int): B.
        mask_prob (float): Probability of masking (the paper's alpha), in
            [0, 1].
        mask_by (str): ``'batch'``: one coin for all rows (the paper);
            ``'sample'``: one for each.
        generator (numpy.random.Generator): Source of random numbers.

    Shape:
        - output: (B,), bool

    Example:
        >>> draw_mask(3, 1.0, 'batch', np.random.default_rng(0)).tolist()
        [True, True, True]
    """
    coins = generator.random(1 if mask_by == 'batch' else batch_size)
    return np.broadcast_to(coins < mask_prob, batch_size)


class RowMask:
    """The mask of a batch, for the host and for a device.

    The host reads ``count`` and ``rows`` without waiting for a device. If
    only some rows are masked, a device needs their indices, which are copied
    to it once and asynchronously.

    Args:
        rows (Iterable[bool]): One for each row of the batch.

    Attributes:
        rows (List[bool]): The argument as a list.
        count (int): Number of masked rows.

    Example:
        >>> mask = RowMask([True, False, True])
        >>> mask.count, mask.any, mask.all
        (2, True, False)
        >>> [rows.tolist() for rows in mask.indices('cpu')]
        [[0, 2], [1]]
    """

    def __init__(self, rows: Iterable[bool]):
        self.rows = list(rows)
        self.count = sum(self.rows)
        self._orders: dict[torch.device, torch.Tensor] = {}

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def any(self) -> bool:
        """Whether at least one row is masked."""
        return self.count > 0

    @property
    def all(self) -> bool:
        """Whether every row is masked."""
        return self.count == len(self.rows)

    def indices(
        self, device: torch.device | str
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return ascending indices of masked rows and of the others.

        Args:
            device (torch.device | str): The device of the result.

        Shape:
            - output: (count,) and (B - count,), int64
        """
        masked, others = self._order(torch.device(device)).split_with_sizes(
            [self.count, len(self) - self.count]
        )
        return masked, others

    def split(self, tensor: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Copy the rows of a tensor into masked ones and others.

        Args:
            tensor (torch.Tensor): It has one row for each row of the batch.

        Shape:
            - tensor: (B, ...)
            - output: (count, ...) and (B - count, ...)

        Example:
            >>> mask = RowMask([True, False, True])
            >>> [part.tolist() for part in mask.split(torch.arange(3))]
            [[0, 2], [1]]
        """
        masked, others = tensor.index_select(
            0, self._order(tensor.device)
        ).split_with_sizes([self.count, len(self) - self.count])
        return masked, others

    def _order(self, device: torch.device) -> torch.Tensor:
        """The indices of masked rows, then those of the others."""
        if device not in self._orders:
            masked = np.asarray(self.rows, dtype=bool)
            order = np.argsort(~masked, kind='stable')
            self._orders[device] = copy_to_device(
                torch.from_numpy(order), device
            )
        return self._orders[device]

    def __reduce__(self):
        return RowMask, (self.rows,)


def crop_size(size: tuple[int, int], share: float) -> tuple[int, int]:
    """Height and width of the crop that a partial mask leaves.

    Args:
        size (Tuple[int, int]): H and W of the image.
        share (float): The share of the image's area, in [0, 1]. Any share
            above 0 leaves at least one pixel.

    Example:
        >>> crop_size((32, 32), 0.25), crop_size((32, 32), 0)
        ((16, 16), (0, 0))
    """
    if share == 0:
        return 0, 0
    side = math.sqrt(share)
    return max(1, round(size[0] * side)), max(1, round(size[1] * side))


def draw_crops(
    batch_size: int,
    size: tuple[int, int],
    share: float,
    generator: np.random.Generator,
) -> np.ndarray:
    """Draw the place of the crop that a partial mask leaves of each reference.

    Every place inside the image is equally likely.

    Args:
        batch_size (int): B.
        size (Tuple[int, int]): H and W of the image.
        share (float): The share of the image's area, in [0, 1].
        generator (numpy.random.Generator): Source of random numbers.

    Shape:
        - output: (B, 2), int64: the top row and the left column

    Example:
        >>> draw_crops(2, (8, 8), 1.0, np.random.default_rng(0)).tolist()
        [[0, 0], [0, 0]]
    """
    room = np.subtract(size, crop_size(size, share)) + 1
    return generator.integers(room, size=(batch_size, 2))


def crop_pixels(
    corners: torch.Tensor, size: tuple[int, int], share: float
) -> torch.Tensor:
    """The pixels of :func:`draw_crops`'s crops.

    Args:
        corners (torch.Tensor): The top row and the left column of each crop.
        size (Tuple[int, int]): H and W of the image.
        share (float): The share of the image's area, in [0, 1].

    Shape:
        - corners: (B, 2), int64
        - output: (B, 1, H, W), bool: True inside the crop

    Example:
        >>> crop_pixels(torch.tensor([[0, 1]]), (2, 2), 0.25).int().tolist()
        [[[[0, 1], [0, 0]]]]
    """
    inside = []
    for axis, length in enumerate(crop_size(size, share)):
        place = torch.arange(size[axis], device=corners.device)
        first = corners[:, axis, None]
        inside.append((place >= first) & (place < first + length))
    rows, columns = inside
    return rows[:, None, :, None] & columns[:, None, None, :]


def blank_references(
    anchored: torch.Tensor,
    mask: torch.Tensor,
    keep: torch.Tensor | None = None,
) -> torch.Tensor:
    """Set the reference of masked rows to zero; the residual is unchanged.

    Zero after normalisation is the mean colour before it.

    Args:
        anchored (torch.Tensor): Anchored inputs ``[r, x - r]``.
        mask (torch.Tensor): Which rows to mask.
        keep (torch.Tensor, optional): Pixels of references that stay as they
            are, see :func:`crop_pixels`. Defaults to None: no pixel.

    Shape:
        - anchored: (B, 2C, H, W)
        - mask: (B,), bool
        - keep: (B, 1, H, W), bool
        - output: (B, 2C, H, W)

    Example:
        >>> blank_references(
        ...     torch.ones(1, 2, 1, 1), torch.tensor([True])
        ... ).flatten().tolist()
        [0.0, 1.0]
    """
    references, residuals = anchored.chunk(2, dim=1)
    blank = mask[:, None, None, None]
    if keep is not None:
        blank = blank & ~keep
    # not a product with zero: an infinite reference would become NaN
    blanked = references.masked_fill(blank, 0)
    return torch.cat([blanked, residuals], dim=1)
