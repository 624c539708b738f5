"""Is a model wrong where it is unsure? Selective classification."""

from typing import NamedTuple

import torch
from mmpretrain.registry import METRICS

from .per_image import TopLabelMetric
from .predicted_batch import check_images


class RiskCoverage(NamedTuple):
    """Areas under the risk-coverage curve.

    Attributes:
        aurc (float): In [0, 1]; smaller is better.
        excess (float): The same less that of the best order, which has all
            errors last; 0 is best.
    """

    aurc: float
    excess: float


def risk_coverage(
    confidence: torch.Tensor, right: torch.Tensor
) -> RiskCoverage:
    """Mean error rate of the n most confident images, over n = 1 ... N.

    Images of the same confidence count as the mean over all their orders.

    Args:
        confidence (torch.Tensor): The largest probability, or any number
            that is larger for surer answers.
        right (torch.Tensor): Whether the answer is right.

    Shape:
        - confidence: (N,)
        - right: (N,), bool

    Returns:
        RiskCoverage: ``aurc`` and ``excess``.

    Raises:
        ValueError: There is no image, one has NaN or infinity, or shapes
            are others.

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
    confidence = confidence.double()  # negated below: bytes would wrap
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
    """:func:`risk_coverage` by the largest probability.

    Logged as ``selective/aurc`` and ``selective/excess_aurc``.

    Args:
        collect_device (str): As for MMEngine's metrics.
        prefix (str, optional): As for MMEngine's metrics.
    """

    default_prefix = 'selective'

    def of_images(self, confidence, right):
        """Both areas, over all images."""
        found = risk_coverage(confidence, right)
        return dict(aurc=found.aurc, excess_aurc=found.excess)
