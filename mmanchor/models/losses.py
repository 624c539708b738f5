"""The loss of a batch in which some references are masked."""

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
    """Arguments of a loss, from which the head computes values for the log.

    Attributes:
        scores (torch.Tensor): The logits, (B, num_classes).
        target (torch.Tensor): Labels or soft labels.
        rows (Tuple[Rows, Rows], optional): The result of
            :func:`split_rows`, if the loss needed it.
    """

    scores: torch.Tensor
    target: torch.Tensor
    rows: tuple[Rows | None, Rows | None] | None = None


def split_rows(
    scores: torch.Tensor, target: torch.Tensor, mask: RowMask
) -> tuple[Rows | None, Rows | None]:
    """Split a batch into its masked rows and its other rows.

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
    """A host's loss that compares masked rows with the masked target.

    The result is the average over all rows of the batch, even if the host's
    loss ignores ``avg_factor`` and averages by itself. If it uses sigmoids,
    the loss of masked rows uses them too.

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
        TypeError: The masked target does not take an argument.
        ValueError: There is no such masked target. In the forward: a row is
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
        # FocalLoss uses sigmoids but lacks the attribute
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
        """Compute the loss of a batch.

        Args:
            cls_score (torch.Tensor): Logits.
            target (torch.Tensor): Labels or soft labels.
            reference_masked (RowMask | torch.Tensor, optional): Which rows
                are masked. Reading a tensor on a GPU makes the host wait for
                it. Defaults to None, which means the attribute of that name,
                set by a reference-masking head. If that is None as well, no
                row is masked.
            avg_factor (int, optional): The sum over rows is divided by it.
                Defaults to None, which means B.
            weight (torch.Tensor, optional): Weight of each row, (B,).
                Defaults to None, which means 1.
            **kwargs: Other arguments of the host's loss. Neither they nor
                its class weights apply to masked rows.
        """
        mask = (
            self.reference_masked
            if reference_masked is None
            else reference_masked
        )
        if mask is not None and not isinstance(mask, RowMask):
            mask = RowMask(mask.tolist())
        masked_target = self.masked_target
        # only a head reads it, and clears it to free the tensors
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
        # on a CPU, autocast would compute the softmax in half precision
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
        # This is the mean over these rows, both for losses that divide by
        # `avg_factor` and for losses that ignore it.
        count = len(others.scores)
        mean = self._host_loss(*others, weight_of_others, count, **kwargs)
        return torch.add(total, mean, alpha=count / avg_factor)

    def _host_loss(self, cls_score, target, weight, avg_factor, **kwargs):
        if weight is not None:  # not every loss takes the argument
            kwargs['weight'] = weight
        return self.loss(cls_score, target, avg_factor=avg_factor, **kwargs)

    @property
    def _loss_weight(self) -> float:
        return getattr(self.loss, 'loss_weight', 1.0)
