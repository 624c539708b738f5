"""Proper scoring rules of predicted probabilities.

All functions take predicted probabilities and true labels, and check them with
:func:`~.predicted_batch.check_predictions`.
"""

import torch
from mmpretrain.registry import METRICS

from .per_image import PerImageMetric, mark_nonfinite
from .predicted_batch import check_labels, check_predictions


def negative_log_likelihood(
    scores: torch.Tensor, labels: torch.Tensor
) -> torch.Tensor:
    """Compute -log of the true class's probability for each image, in nats.

    The probabilities are those that the model answers with, however it
    averages over references. A probability that underflowed counts as the
    smallest normal number of its type, so that the result is at most 87.3
    nats in float32.

    Args:
        scores (torch.Tensor): Predicted probabilities.
        labels (torch.Tensor): True labels.

    Shape:
        - scores: (N, num_classes)
        - labels: (N,)
        - output: (N,), double; its mean is the metric

    Raises:
        TypeError: See :func:`~.predicted_batch.check_predictions`.
        ValueError: See there; or a label is none of the classes.

    Example:
        >>> scores = torch.tensor([[0.5, 0.5], [0.0, 1.0]])
        >>> negative_log_likelihood(scores, torch.tensor([0, 0]))
        tensor([ 0.6931, 87.3365], dtype=torch.float64)
    """
    labels = check_predictions(scores, labels)
    check_labels(labels, scores.size(1))
    return _nll(scores, labels)


def brier_score(scores: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Compute the Brier score of each image.

    It is the sum over classes of the squared difference between the predicted
    probability and 1 for the true class or 0 for any other class. It lies in
    [0, 2], as it is not divided by the number of classes.

    Args:
        scores (torch.Tensor): See :func:`negative_log_likelihood`.
        labels (torch.Tensor): See :func:`negative_log_likelihood`.

    Shape and errors are those of :func:`negative_log_likelihood`.

    Example:
        >>> brier_score(torch.tensor([[0.0, 1.0]]), torch.tensor([0])).item()
        2.0

    Source: Brier, Verification of forecasts expressed in terms of
    probability, Monthly Weather Review 1950.
    """
    labels = check_predictions(scores, labels)
    check_labels(labels, scores.size(1))
    return _brier(scores, labels)


def _nll(scores, labels):
    smallest = torch.finfo(scores.dtype).tiny
    true = scores.gather(1, labels[:, None]).squeeze(1)
    return -true.double().clamp(min=smallest).log()


def _brier(scores, labels):
    gap = scores.double()
    gap = gap.scatter_add(1, labels[:, None], -torch.ones_like(gap[:, :1]))
    return gap.square().sum(1)


@METRICS.register_module()
class NegativeLogLikelihood(PerImageMetric):
    """Mean of :func:`negative_log_likelihood`, as ``probabilities/nll``.

    Its arguments are those of MMEngine's ``BaseMetric``.
    """

    default_prefix = 'probabilities'

    def numbers(self, batch):
        """See :class:`PerImageMetric`."""
        scores = batch['pred_score']
        return [mark_nonfinite(_nll(scores, batch.class_labels), scores)]

    def of_images(self, nll):
        """The mean over all images."""
        return dict(nll=nll.mean().item())


@METRICS.register_module()
class BrierScore(PerImageMetric):
    """Mean of :func:`brier_score`, as ``probabilities/brier``.

    Its arguments are those of MMEngine's ``BaseMetric``.
    """

    default_prefix = 'probabilities'

    def numbers(self, batch):
        """See :class:`PerImageMetric`."""
        scores = batch['pred_score']
        return [mark_nonfinite(_brier(scores, batch.class_labels), scores)]

    def of_images(self, brier):
        """The mean over all images."""
        return dict(brier=brier.mean().item())
