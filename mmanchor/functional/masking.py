"""Reference masking: blank the reference and answer "don't know".

Source: Narayanaswamy et al., NeurIPS 2024 (arXiv 2406.00529), on reference
masking.
"""

import math
from collections.abc import Iterable

import numpy as np
import torch
import torch.nn.functional as F

from ..registry import MASKED_TARGETS, build_registered, registered_name
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


def uniform_cross_entropy(
    logits: torch.Tensor, sigmoid: bool = False
) -> torch.Tensor:
    """Cross-entropy of each row to the uniform distribution over classes.

    Args:
        logits (torch.Tensor): Logits.
        sigmoid (bool): Treat every class as a binary problem and sum the
            binary cross-entropies to ``1 / num_classes``, for heads trained
            with binary cross-entropy. Defaults to False, which uses softmax
            as the paper does.

    Shape:
        - logits: (B, num_classes)
        - output: (B,), in nats; with softmax at least log(num_classes)

    Raises:
        ValueError: There is only one class.

    Example:
        >>> torch.allclose(
        ...     uniform_cross_entropy(torch.zeros(1, 4)),
        ...     torch.tensor(4.0).log(),
        ... )
        True
    """
    _check_several_classes(logits)
    if sigmoid:
        target = torch.full_like(logits, 1 / logits.size(1))
        return F.binary_cross_entropy_with_logits(
            logits, target, reduction='none'
        ).sum(1)
    return -F.log_softmax(logits, dim=1).mean(1)


class MaskedTarget:
    """The target of rows with a blanked reference.

    Subclasses return a distribution over the classes for each row, or another
    loss, and are registered in ``MASKED_TARGETS``. Then a head's
    ``masked_target`` and the ``target`` of a
    :class:`~mmanchor.models.ReferenceMaskingLoss` may name them.

    Attributes:
        keeps_labels (bool): Whether masked rows go through the host's loss
            with their labels, as other rows do. Then neither method is
            called.

    Example:
        >>> class Certain(MaskedTarget):
        ...     def distribution(self, logits, labels):
        ...         return F.one_hot(labels, logits.size(1)).to(logits)
        >>> logits = torch.tensor([[2.0, 0.0]])
        >>> loss = Certain().loss(logits, torch.tensor([0]))
        >>> torch.allclose(loss, F.cross_entropy(logits, torch.tensor([0])))
        True
    """

    keeps_labels = False

    def distribution(
        self, logits: torch.Tensor, labels: torch.Tensor
    ) -> torch.Tensor:
        """Return the distribution that each masked row should predict.

        Args:
            logits (torch.Tensor): Logits of masked rows.
            labels (torch.Tensor): Their labels, which may be soft.

        Shape:
            - logits: (B, num_classes)
            - labels: (B,) or (B, num_classes)
            - output: (B, num_classes)
        """
        raise NotImplementedError

    def loss(
        self,
        logits: torch.Tensor,
        labels: torch.Tensor,
        sigmoid: bool = False,
    ) -> torch.Tensor:
        """Return each masked row's loss: cross-entropy to the distribution.

        Args:
            logits (torch.Tensor): Logits of masked rows.
            labels (torch.Tensor): Their labels, which may be soft.
            sigmoid (bool): Whether to treat every class as a binary problem,
                as the host's loss does. Defaults to False.

        Shape:
            - logits: (B, num_classes)
            - labels: (B,) or (B, num_classes)
            - output: (B,)

        Raises:
            ValueError: There is only one class, or the distribution has
                another shape than the logits.
        """
        _check_several_classes(logits)
        wanted = self.distribution(logits, labels)
        if wanted.shape != logits.shape:
            raise ValueError(
                'Expected the distribution of the masked target '
                f'{registered_name(type(self), MASKED_TARGETS)!r} to have '
                f"the logits' shape (B, num_classes) = {tuple(logits.shape)}, "
                f'but got {tuple(wanted.shape)}. Return one row for each row '
                'of the logits.'
            )
        if sigmoid:
            rows = F.binary_cross_entropy_with_logits(
                logits, wanted, reduction='none'
            )
        else:
            rows = -wanted * logits.log_softmax(1)
        return rows.sum(1)


@MASKED_TARGETS.register_module('uniform')
class UniformTarget(MaskedTarget):
    """Gives every class ``1 / num_classes``: "don't know" (the paper)."""

    def loss(self, logits, labels, sigmoid=False):
        """See :class:`MaskedTarget`."""
        return uniform_cross_entropy(logits, sigmoid)


@MASKED_TARGETS.register_module('label')
class LabelTarget(MaskedTarget):
    """Leaves masked rows their label (the authors' released code)."""

    keeps_labels = True


def build_masked_target(config: str | dict | MaskedTarget) -> MaskedTarget:
    """Build a masked target from its name, or from name and arguments.

    Args:
        config (str | dict | MaskedTarget): ``'uniform'``, ``'label'`` or
            another name in ``MASKED_TARGETS``; or a dict with one of them as
            ``type`` and the arguments.

    Raises:
        TypeError: The target does not take an argument, or the name belongs
            to something that is not a ``MaskedTarget``.
        ValueError: There is no such masked target.

    Example:
        >>> build_masked_target('label').keeps_labels
        True
    """
    if isinstance(config, MaskedTarget):
        return config
    target = build_registered(config, MASKED_TARGETS)
    if not isinstance(target, MaskedTarget):
        raise TypeError(
            'Expected a masked target to be a subclass of MaskedTarget, but '
            f'got {type(target).__name__}. Derive it from '
            '`mmanchor.functional.MaskedTarget`.'
        )
    return target


def normalized_entropy(logits: torch.Tensor) -> torch.Tensor:
    """Entropy of the prediction, divided by that of the uniform distribution.

    1 means "don't know" and 0 means certain.

    Args:
        logits (torch.Tensor): Logits.

    Shape:
        - logits: (B, num_classes), at least two classes
        - output: (B,), in [0, 1]

    Raises:
        ValueError: There is only one class.

    Example:
        >>> normalized_entropy(
        ...     torch.tensor([[0.0, 0.0], [999.0, 0.0]])
        ... ).tolist()
        [1.0, 0.0]
    """
    _check_several_classes(logits)
    entropy = torch.special.entr(logits.softmax(dim=1)).sum(1)
    return (entropy / math.log(logits.size(1))).clamp(0, 1)


def mean_normalized_entropy(logits: torch.Tensor) -> torch.Tensor:
    """The mean of :func:`normalized_entropy` over rows, for a log.

    It takes fewer operations, and may exceed 1 by a rounding error.

    Shape:
        - logits: (B, num_classes), at least two classes
        - output: scalar

    Raises:
        ValueError: There is only one class.

    Example:
        >>> mean_normalized_entropy(
        ...     torch.tensor([[0.0, 0.0], [999.0, 0.0]])
        ... ).item()
        0.5
    """
    _check_several_classes(logits)
    total = torch.special.entr(logits.softmax(dim=1)).sum()
    return total * (1 / (len(logits) * math.log(logits.size(1))))


def _check_several_classes(logits: torch.Tensor) -> None:
    if logits.size(1) < 2:
        raise ValueError(
            'Expected logits of two classes or more, since only between them '
            'can an answer be "don\'t know", but got shape (B, num_classes) '
            f'= {tuple(logits.shape)}. Set `num_classes=2` in the head, for '
            'yes and no.'
        )
