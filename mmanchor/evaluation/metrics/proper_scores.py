"""Are the predicted probabilities good ones? Proper scoring rules."""

import torch
from mmpretrain.registry import METRICS

from .per_image import PerImageMetric, marked
from .predicted_batch import check_labels, check_predictions


def negative_log_likelihood(
    scores: torch.Tensor, labels: torch.Tensor
) -> torch.Tensor:
    """-log of the probability of the true class, in nats, for each image.

    Probabilities are what the model answers with, whatever it averaged over
    references. One that underflowed counts as the smallest normal number of
    the scores' type: 87.3 nats at most in float32.

    Args:
        scores (torch.Tensor): Predicted probabilities.
        labels (torch.Tensor): True labels.

    Shape:
        - scores: (N, num_classes)
        - labels: (N,)
        - output: (N,), double; its mean is the metric

    Raises:
        TypeError: ``scores`` are not floating-point, or ``labels`` no
            integers.
        ValueError: There is no image, one has NaN or infinity or no
            probabilities, or a label is missing or none of the classes.

    Example:
        >>> scores = torch.tensor([[0.5, 0.5], [0.0, 1.0]])
        >>> negative_log_likelihood(scores, torch.tensor([0, 0]))
        tensor([ 0.6931, 87.3365], dtype=torch.float64)
    """
    labels = check_predictions(scores, labels)
    return _nll(scores, labels)


def brier_score(scores: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Sum over classes of squared differences, for each image.

    Between the predicted probabilities and 1 for the true class, 0 for the
    others: in [0, 2], not divided by the number of classes.

    Args:
        scores (torch.Tensor): Predicted probabilities.
        labels (torch.Tensor): True labels.

    Shape:
        - scores: (N, num_classes)
        - labels: (N,)
        - output: (N,), double; its mean is the metric

    Raises:
        TypeError: ``scores`` are not floating-point, or ``labels`` no
            integers.
        ValueError: There is no image, one has NaN or infinity or no
            probabilities, or a label is missing or none of the classes.

    Example:
        >>> brier_score(torch.tensor([[0.0, 1.0]]), torch.tensor([0])).item()
        2.0

    Source: Brier, Verification of forecasts expressed in terms of
    probability, Monthly Weather Review 1950.
    """
    labels = check_predictions(scores, labels)
    return _brier(scores, labels)


def _nll(scores, labels):
    check_labels(labels, scores.size(1))
    smallest = torch.finfo(scores.dtype).tiny
    true = scores.gather(1, labels[:, None]).squeeze(1)
    return -true.double().clamp(min=smallest).log()


def _brier(scores, labels):
    check_labels(labels, scores.size(1))
    gap = scores.double()
    gap = gap.scatter_add(1, labels[:, None], -torch.ones_like(gap[:, :1]))
    return gap.square().sum(1)


@METRICS.register_module()
class NegativeLogLikelihood(PerImageMetric):
    """Mean of :func:`negative_log_likelihood`, as ``probabilities/nll``.

    Args:
        collect_device (str): As for MMEngine's metrics.
        prefix (str, optional): As for MMEngine's metrics.
    """

    default_prefix = 'probabilities'

    def numbers(self, batch):
        """See :class:`~mmanchor.evaluation.PerImageMetric`."""
        scores = batch['pred_score']
        return [marked(_nll(scores, batch.labels), scores)]

    def of_images(self, nll):
        """The mean over all images."""
        return dict(nll=nll.mean().item())


@METRICS.register_module()
class BrierScore(PerImageMetric):
    """Mean of :func:`brier_score`, as ``probabilities/brier``.

    Args:
        collect_device (str): As for MMEngine's metrics.
        prefix (str, optional): As for MMEngine's metrics.
    """

    default_prefix = 'probabilities'

    def numbers(self, batch):
        """See :class:`~mmanchor.evaluation.PerImageMetric`."""
        scores = batch['pred_score']
        return [marked(_brier(scores, batch.labels), scores)]

    def of_images(self, brier):
        """The mean over all images."""
        return dict(brier=brier.mean().item())
