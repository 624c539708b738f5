"""Selective classification: are a model's errors where it is unsure?"""

from typing import NamedTuple

import torch
from mmpretrain.registry import METRICS

from ..abstention import Threshold
from ..confidence_intervals import wilson_interval
from .per_image import TopLabelMetric
from .predicted_batch import check_images


class RiskCoverage(NamedTuple):
    """Areas under the risk-coverage curve.

    Attributes:
        aurc (float): In [0, 1]; smaller is better.
        excess (float): ``aurc`` minus the area of the best order, in which
            all errors come last; 0 is best.
    """

    aurc: float
    excess: float


def risk_coverage(
    confidence: torch.Tensor, right: torch.Tensor
) -> RiskCoverage:
    """Average the error rate of the n most confident images over n = 1 ... N.

    For images of equal confidence, the mean over all their orders is used.

    Args:
        confidence (torch.Tensor): The largest probability, or any other
            number that is larger where the model is surer.
        right (torch.Tensor): Whether each answer is right.

    Shape:
        - confidence: (N,)
        - right: (N,), bool

    Returns:
        RiskCoverage: ``aurc`` and ``excess``.

    Raises:
        ValueError: There is no image, a confidence is NaN or infinite, or a
            shape is wrong.

    Example:
        >>> risk_coverage(
        ...     torch.tensor([0.9, 0.8]), torch.tensor([True, False])
        ... )
        RiskCoverage(aurc=0.25, excess=0.0)

    Source: Geifman et al., Bias-Reduced Uncertainty Estimation for Deep
    Neural Classifiers, ICLR 2019.
    """
    if confidence.dim() != 1 or right.shape != confidence.shape:
        raise ValueError(
            'Expected `confidence` and `right` of shape (N,), but got '
            f'{tuple(confidence.shape)} and {tuple(right.shape)}. Change '
            'either.'
        )
    check_images(confidence)
    confidence = confidence.double()  # negating bytes would wrap around
    wrong = 1 - right.double()
    group, size = torch.unique(
        -confidence, return_inverse=True, return_counts=True
    )[1:]
    share = wrong.new_zeros(len(size)).scatter_add(0, group, wrong) / size
    aurc = _mean_risk(share.repeat_interleave(size))
    return RiskCoverage(aurc, aurc - _mean_risk(wrong.sort().values))


def _mean_risk(wrong: torch.Tensor) -> float:
    seen = torch.arange(1, len(wrong) + 1, device=wrong.device)
    return (wrong.cumsum(0) / seen).mean().item()


@METRICS.register_module()
class AreaUnderRiskCoverage(TopLabelMetric):
    """:func:`risk_coverage` with the largest probability as confidence.

    It is logged as ``selective/aurc`` and ``selective/excess_aurc``.

    Its arguments are those of MMEngine's ``BaseMetric``.
    """

    default_prefix = 'selective'

    def of_images(self, confidence, right):
        """Compute both areas over all images."""
        areas = risk_coverage(confidence, right)
        return dict(aurc=areas.aurc, excess_aurc=areas.excess)


class SelectiveError(TopLabelMetric):
    """Share of answers that a threshold trusts, and of trusted wrong ones.

    They are called ``trusted`` and ``trusted_wrong``, both shares of all
    images. Their ratio is the error of trusted answers, also of several sets
    together, if the shares are averaged first. The threshold is found before,
    on other images, so that configs can't name this metric.

    Args:
        threshold (Threshold): One of confidences, which
            :func:`find_threshold` found.

    Raises:
        ValueError: It is a threshold of spreads.
    """

    default_prefix = 'selective'

    def __init__(self, threshold: Threshold):
        super().__init__()
        if threshold.by != 'confidence':
            raise ValueError(
                'Expected a threshold of confidences, but got one of '
                f'{threshold.by}. Find one with `by="confidence"`.'
            )
        self.threshold = threshold

    def of_images(self, confidence, right):
        """See :class:`PerImageMetric`."""
        trusted = torch.from_numpy(self.threshold.trusts(confidence.numpy()))
        wrong = trusted & (right == 0)
        return dict(
            trusted=trusted.double().mean().item(),
            trusted_wrong=wrong.double().mean().item(),
        )

    def intervals(self, rows: torch.Tensor) -> dict:
        """See :class:`PerImageMetric`."""
        return {
            name: wilson_interval(share, len(rows))
            for name, share in self.of_images(*rows.unbind(1)).items()
        }
