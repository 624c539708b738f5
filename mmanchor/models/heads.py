"""Heads whose loss handles rows with a masked reference."""

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import torch
from mmpretrain.models import heads as host_heads
from mmpretrain.models.heads import (
    ClsHead,
    ConformerHead,
    DeiTClsHead,
    EfficientFormerClsHead,
    LeViTClsHead,
    LinearClsHead,
    StackedLinearClsHead,
    VigClsHead,
    VisionTransformerClsHead,
)
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample
from torch import nn

from ..functional import (
    MaskedTarget,
    RowMask,
    average_references,
    measure_uncertainty,
    reference_spread,
)
from ..functional.masked_target import mean_normalized_entropy
from ..utils.pytorch import not_compiled
from .losses import LossCall, ReferenceMaskingLoss, split_rows
from .row_masks import mask_of

# These have no softmax, or put a margin on the label, which a masked row does
# not use. MMPretrain's original release has no regression head.
_REFUSED = tuple(
    getattr(host_heads, name)
    for name in ('RegressionHead', 'ArcFaceClsHead')
    if hasattr(host_heads, name)
)
_LOGITS_ONLY: Any = object()  # stands for data samples in `logits`


if TYPE_CHECKING:
    _Host = ClsHead
else:
    _Host = object


class ReferenceMasking(_Host):
    """The methods that :func:`reference_masking` adds to a head.

    Args:
        masked_target (str | dict, optional): See
            :class:`~mmanchor.models.losses.ReferenceMaskingLoss`. It can not
            be set where ``loss`` is one already. Defaults to None, which
            means ``'uniform'``.
        *args, **kwargs: Arguments of the host's head.
    """

    host_class: type[ClsHead]
    loss_module: ReferenceMaskingLoss
    topk: tuple[int, ...]

    def __init__(
        self,
        *args,
        masked_target: str | dict | MaskedTarget | None = None,
        **kwargs,
    ):
        super().__init__(*args, **kwargs)
        _check_num_classes(self)
        self._wrap_loss(masked_target)

    def _wrap_loss(
        self, masked_target: str | dict | MaskedTarget | None = None
    ) -> None:
        if not isinstance(self.loss_module, ReferenceMaskingLoss):
            self.loss_module = ReferenceMaskingLoss(
                self.loss_module, masked_target or 'uniform'
            )
        elif masked_target is not None:
            raise ValueError(
                'Expected the masked target either as `masked_target` or as '
                '`target` of a ReferenceMaskingLoss, but got both. Drop '
                '`masked_target`.'
            )
        self._masked_target = self.loss_module.target

    def __reduce__(self):
        # pickle can't import classes that are created for a user's head
        return _restore, (self.host_class,), self.__dict__

    def loss(self, feats, data_samples: list[DataSample], **kwargs) -> dict:
        """The host head's losses, and values about masking for the log."""
        losses = super().loss(feats, data_samples, **kwargs)
        if 'masked_share' not in losses:
            raise TypeError(
                f'Expected `loss` of {self.host_class.__name__} to go through '
                '`_get_loss`, as ClsHead.loss does, but it does not, so '
                'nothing would be masked. Let it call `self._get_loss`.'
            )
        return losses

    @not_compiled  # every number of masked rows has another shape
    def _get_loss(
        self, cls_score, data_samples: list[DataSample], **kwargs
    ) -> dict:
        if not isinstance(self.loss_module, ReferenceMaskingLoss):
            self._wrap_loss(self._masked_target)  # after a SwitchRecipeHook
        loss_module, cal_acc = self.loss_module, self.cal_acc
        mask = mask_of(data_samples)
        loss_module.reference_masked = mask
        if cal_acc:
            self.cal_acc = False  # the host would count masked rows
        try:
            losses = super()._get_loss(cls_score, data_samples, **kwargs)
            call = loss_module.last_call
            if call is not None:  # otherwise `loss` raises a TypeError
                losses.update(self._monitor(cls_score, mask, call, cal_acc))
        finally:
            loss_module.reference_masked = loss_module.last_call = None
            if cal_acc:
                self.cal_acc = True
        return losses

    @torch.no_grad()
    def _monitor(
        self, cls_score, mask: RowMask, call: LossCall, cal_acc: bool
    ) -> dict:
        """Values for the log; MMEngine adds up keys that contain "loss"."""
        scores, target, rows = call
        if scores is not cls_score:  # a head with several outputs
            if not isinstance(cls_score, torch.Tensor):
                cls_score = torch.stack(list(cls_score)).sum(0)
            scores, rows = cls_score, None
        masked, others = rows or split_rows(scores, target, mask)
        values: dict = {
            'masked_share': scores.new_full(
                (), mask.count / len(mask), dtype=torch.float32
            )
        }
        if masked is not None:
            values['masked_entropy'] = mean_normalized_entropy(
                masked.scores.float()
            )
        if others is None:
            return values
        if target.dim() == 1:
            values.update(self._accuracy(*others, cal_acc))
        elif cal_acc:
            raise ValueError(
                'Expected hard labels where `cal_acc=True`, but got soft '
                'ones. Drop `cal_acc`, or Mixup, CutMix and `to_onehot`.'
            )
        return values

    def _accuracy(self, scores, labels, cal_acc: bool) -> dict:
        """The accuracies of rows, in percent, as the host computes them."""
        classes = scores.size(1)
        topk = self.topk
        if not cal_acc:
            topk = [k for k in topk if k <= classes]
        highest = max(topk)
        if highest > classes:
            raise ValueError(
                'Expected `topk` of the head to be at most the '
                f'{classes} classes, but got {highest}. Lower it.'
            )
        # MMPretrain counts a prediction with a negative score as wrong
        if highest == 1:  # this takes half the operations of `topk`
            score, label = scores.float().max(1)
            right = (label == labels).logical_and_(score > 0)
            sums = right.sum(0, keepdim=True, dtype=torch.float32)
            return {'accuracy_top-1': [sums.mul_(100 / len(labels))]}
        score, label = scores.float().topk(highest)
        right = (label == labels[:, None]).logical_and_(score > 0)
        sums = right.sum(0, dtype=torch.float32).cumsum(0)
        accuracies = sums.mul_(100 / len(labels)).split(1)
        return {f'accuracy_top-{k}': [accuracies[k - 1]] for k in topk}

    def logits(self, feats) -> torch.Tensor:
        """The logits from which the host's head predicts.

        Shape:
            - output: (B, num_classes)
        """
        logits: Any = super().predict(feats, _LOGITS_ONLY)
        return logits

    def predict(
        self, feats, data_samples: list[DataSample | None] | None = None
    ) -> list[DataSample]:
        """Predict from the features of one reference."""
        return self.predict_from_logits(self.logits(feats)[None], data_samples)

    def predict_from_logits(
        self,
        logits: torch.Tensor,
        data_samples: list[DataSample | None] | None = None,
        average: str = 'logits',
        uncertainty: Sequence[str] = (),
        spread: bool = True,
    ) -> list[DataSample]:
        """Combine the logits for K references into predictions.

        Args:
            data_samples (List[DataSample], optional): Samples to write to.
                Defaults to None, which creates them.
            uncertainty (Sequence[str]): Further fields, by their names in
                ``UNCERTAINTIES``.
            spread (bool): Whether to write ``pred_std``. Defaults to True.

        Shape:
            - logits: (K, B, num_classes)

        Returns:
            List[DataSample]: With ``pred_score``, ``pred_label``,
            ``pred_logits`` (mean over references), ``pred_std`` (their
            spread, :func:`~mmanchor.functional.reference_spread`) and
            ``num_references``. All but the label and the number have the
            shape (num_classes,).
        """
        samples = super()._get_predictions(
            average_references(logits, average), data_samples
        )
        fields = dict(pred_logits=logits.mean(0))
        if spread:
            fields['pred_std'] = reference_spread(logits)
        fields.update(
            (name, measure_uncertainty(logits, name)) for name in uncertainty
        )
        for sample, *values in zip(
            samples, *(field.unbind() for field in fields.values())
        ):
            sample.set_field(len(logits), 'num_references', dtype=int)
            for name, value in zip(fields, values):
                sample.set_field(value, name, dtype=torch.Tensor)
        return samples

    def _get_predictions(self, cls_score, data_samples):
        if data_samples is _LOGITS_ONLY:
            return cls_score
        return self.predict_from_logits(cls_score[None], data_samples)


@cache
def reference_masking(head_class: type[ClsHead]) -> type[ClsHead]:
    """Create the reference-masking version of a head class.

    Its ``loss`` compares masked rows with the masked target. Its log shows
    ``masked_share`` (the share of masked rows), ``masked_entropy`` (their
    normalised entropy, where 1 means "don't know") and the accuracy on the
    other rows. Its ``predict`` averages over K references.

    Args:
        head_class (type): A subclass of the host's ``ClsHead``.

    Returns:
        type: A subclass of it, named ``ReferenceMasking...``. Every call
        returns the same one. Its state-dict keys are the head's.

    Raises:
        TypeError: It is not such a class. A multi-label, multi-task or
            regression head has no single softmax that could be uniform.

    Example:
        >>> from mmpretrain.models import LinearClsHead
        >>> reference_masking(LinearClsHead).__name__
        'ReferenceMaskingLinearClsHead'
    """
    if (
        not isinstance(head_class, type)
        or not issubclass(head_class, ClsHead)
        or issubclass(head_class, _REFUSED)
    ):
        name = getattr(head_class, '__name__', head_class)
        raise TypeError(
            'Expected a head with one softmax over the classes (a subclass '
            f"of ClsHead), but got {name}, whose answer can't be \"don't "
            'know". Use a single-label classification head.'
        )
    if issubclass(head_class, ReferenceMasking):
        return head_class
    return type(
        f'ReferenceMasking{head_class.__name__}',
        (ReferenceMasking, head_class),
        dict(
            __module__=__name__,
            __doc__=head_class.__doc__,
            host_class=head_class,
        ),
    )


def _check_num_classes(head: nn.Module) -> None:
    if getattr(head, 'num_classes', None) == 1:
        raise ValueError(
            f'Expected `num_classes` of {type(head).__name__} to be at least '
            '2, since the answer of one class can\'t be "don\'t know", but '
            'got 1. Set `num_classes=2`, for yes and no.'
        )


def _restore(host_class: type) -> nn.Module:
    masking = reference_masking(host_class)
    return object.__new__(masking)


def mask_head(head: dict | nn.Module | None) -> dict | nn.Module | None:
    """Turn a head, or the config of one, into its reference-masking version.

    Args:
        head (dict | torch.nn.Module, optional): The head that a
            classifier gets. A module is changed in place.

    Returns:
        dict | torch.nn.Module | None: A config for a config, a module for a
        module.

    Raises:
        TypeError: See :func:`reference_masking`.
        ValueError: A module has only one class. A config with one class is
            refused when the head is built.

    Example:
        >>> mask_head(dict(type='LinearClsHead', num_classes=10))['type']
        <class 'mmanchor.models.heads.ReferenceMaskingLinearClsHead'>
    """
    if head is None or isinstance(head, ReferenceMasking):
        return head
    if isinstance(head, nn.Module):
        masking = reference_masking(type(head))
        _check_num_classes(head)
        masked: Any = head
        masked.__class__ = masking
        masked._wrap_loss()
        return masked
    head_class = head.get('type')
    if isinstance(head_class, str):
        head_class = MODELS.get(head_class)
    if head_class is None:  # the registry of MMPretrain names the error better
        return head
    return {**head, 'type': reference_masking(head_class)}


def unmask_head(head: ReferenceMasking) -> nn.Module:
    """Turn a reference-masking head back into the host's, in place.

    Example:
        >>> from mmpretrain.models import ClsHead
        >>> type(unmask_head(mask_head(ClsHead()))).__name__
        'ClsHead'
    """
    plain: Any = head
    plain.loss_module = head.loss_module.loss
    plain.__class__ = head.host_class
    return plain


ReferenceMaskingClsHead = reference_masking(ClsHead)
ReferenceMaskingConformerHead = reference_masking(ConformerHead)
ReferenceMaskingDeiTClsHead = reference_masking(DeiTClsHead)
ReferenceMaskingEfficientFormerClsHead = reference_masking(
    EfficientFormerClsHead
)
ReferenceMaskingLeViTClsHead = reference_masking(LeViTClsHead)
ReferenceMaskingLinearClsHead = reference_masking(LinearClsHead)
ReferenceMaskingStackedLinearClsHead = reference_masking(StackedLinearClsHead)
ReferenceMaskingVigClsHead = reference_masking(VigClsHead)
ReferenceMaskingVisionTransformerClsHead = reference_masking(
    VisionTransformerClsHead
)

for _head in ReferenceMasking.__subclasses__():
    MODELS.register_module(module=_head)
