"""The loss of a batch some of whose references are masked."""

from typing import NamedTuple

import torch
from mmpretrain.models import FocalLoss
from mmpretrain.registry import MODELS
from torch import nn

from ..functional import MaskedTarget, RowMask, build_masked_target


class Rows(NamedTuple):
    """Some rows of a batch: their scores, and their labels."""

    scores: torch.Tensor
    target: torch.Tensor


class LossCall(NamedTuple):
    """What a loss was called with, for what is logged of the same rows.

    Attributes:
        scores (torch.Tensor): The logits, (B, num_classes).
        target (torch.Tensor): Labels or soft labels.
        rows (Tuple[Rows, Rows], optional): What :func:`split_rows` gave, if
            the loss split them.
    """

    scores: torch.Tensor
    target: torch.Tensor
    rows: tuple[Rows | None, Rows | None] | None = None


def split_rows(
    scores: torch.Tensor, target: torch.Tensor, mask: RowMask
) -> tuple[Rows | None, Rows | None]:
    """Split a batch into its masked rows and its other rows.

    Args:
        scores (torch.Tensor): Logits.
        target (torch.Tensor): Labels or soft labels.
        mask (RowMask): Which rows are masked.

    Shape:
        - scores: (B, num_classes)
        - target: (B,) or (B, num_classes)

    Returns:
        Tuple[Rows | None, Rows | None]: None for a part without rows.

    Example:
        >>> masked, others = split_rows(
        ...     torch.eye(2), torch.tensor([0, 1]), RowMask([False, True])
        ... )
        >>> masked.target, others.target
        (tensor([1]), tensor([0]))
    """
    if not mask.any:
        return None, Rows(scores, target)
    if mask.all:
        return Rows(scores, target), None
    masked, others = zip(mask.split(scores), mask.split(target))
    return Rows(*masked), Rows(*others)


@MODELS.register_module()
class ReferenceMaskingLoss(nn.Module):
    """A host loss whose masked rows answer to the masked target.

    Masked and other rows are averaged together, over the whole batch, also
    where the host's loss ignores ``avg_factor`` and averages by itself. Where
    it uses sigmoids, so does the masked rows' part.

    Args:
        loss (dict | torch.nn.Module): The loss of rows that are not masked.
            Defaults to ``dict(type='CrossEntropyLoss')``.
        target (str | dict): ``'uniform'``: cross-entropy to
            ``1 / num_classes`` for every masked row (the paper); ``'label'``:
            masked rows keep their label (what the authors' released code
            does); or another one that is registered in ``MASKED_TARGETS``,
            see :func:`~mmanchor.functional.build_masked_target`. Defaults to
            ``'uniform'``.

    Shape:
        - cls_score: (B, num_classes)
        - target: (B,) labels or (B, num_classes) scores
        - reference_masked: (B,), bool
        - output: scalar

    Raises:
        TypeError: The masked target has no such argument.
        ValueError: There is no such masked target; in the forward, a row is
            masked and there is only one logit.

    Example:
        >>> loss = ReferenceMaskingLoss()
        >>> logits, labels = torch.zeros(2, 4), torch.tensor([1, 2])
        >>> masked = torch.tensor([True, False])
        >>> round(loss(logits, labels, masked, avg_factor=2).item(), 4)
        1.3863

    Source: arXiv 2406.00529, on reference masking.
    """

    def __init__(
        self,
        loss: dict | nn.Module = dict(type='mmpretrain.CrossEntropyLoss'),
        target: str | dict | MaskedTarget = 'uniform',
    ):
        super().__init__()
        self.target = target
        self.masked_target = build_masked_target(target)
        self.loss: nn.Module = (
            MODELS.build(loss) if isinstance(loss, dict) else loss
        )
        # the focal loss is made of sigmoids and has no such attribute
        self._uses_sigmoid = any(
            getattr(module, 'use_sigmoid', isinstance(module, FocalLoss))
            for module in self.loss.modules()
        )
        self.reference_masked: RowMask | torch.Tensor | None = None
        self.last_call: LossCall | None = None

    def forward(
        self,
        cls_score: torch.Tensor,
        target: torch.Tensor,
        reference_masked: RowMask | torch.Tensor | None = None,
        avg_factor: int | None = None,
        weight: torch.Tensor | None = None,
        **kwargs,
    ) -> torch.Tensor:
        """The loss of a batch.

        Args:
            cls_score (torch.Tensor): Logits.
            target (torch.Tensor): Labels or soft labels.
            reference_masked (RowMask | torch.Tensor, optional): Which rows
                are masked; a tensor on a GPU is waited for. Defaults to
                None: those of the attribute of that name, which a
                reference-masking head sets; None there too: none.
            avg_factor (int, optional): What the sum over rows is divided by.
                Defaults to None: B.
            weight (torch.Tensor, optional): Weight of each row, (B,).
                Defaults to None: 1.
            **kwargs: Other arguments of the host's loss. They and the class
                weights it may have don't apply to masked rows.
        """
        mask = (
            self.reference_masked
            if reference_masked is None
            else reference_masked
        )
        if mask is not None and not isinstance(mask, RowMask):
            mask = RowMask(mask.tolist())
        masked_target = self.masked_target
        # a head logs from it; nobody else would let go of its tensors
        logs = self.reference_masked is not None
        if masked_target.keeps_labels or mask is None or not mask.any:
            if logs:
                self.last_call = LossCall(cls_score, target)
            return self._host_loss(
                cls_score, target, weight, avg_factor, **kwargs
            )
        masked, others = rows = split_rows(cls_score, target, mask)
        if logs:
            self.last_call = LossCall(cls_score, target, rows)
        weight_of_others = None
        if weight is not None and others is not None:
            weight, weight_of_others = mask.split(weight)
        avg_factor = avg_factor or len(cls_score)
        assert masked is not None  # since some are masked
        # autocast leaves a softmax in half precision, on CPU
        scores = masked.scores
        losses = masked_target.loss(
            scores.to(torch.promote_types(scores.dtype, torch.float32)),
            masked.target,
            self._uses_sigmoid,
        )
        if weight is not None:
            losses = losses * weight
        total = losses.sum() * (self._loss_weight / avg_factor)
        if others is None:
            return total
        # the mean of these rows, by losses that divide by `avg_factor` and
        # by those that ignore it
        count = len(others.scores)
        mean = self._host_loss(*others, weight_of_others, count, **kwargs)
        return torch.add(total, mean, alpha=count / avg_factor)

    def _host_loss(self, cls_score, target, weight, avg_factor, **kwargs):
        if weight is not None:  # not every loss knows weights
            kwargs['weight'] = weight
        return self.loss(cls_score, target, avg_factor=avg_factor, **kwargs)

    @property
    def _loss_weight(self) -> float:
        return getattr(self.loss, 'loss_weight', 1.0)
