"""The metric of prediction sets: coverage and mean size."""

import torch

from ..confidence_intervals import normal_interval, wilson_interval
from ..prediction_sets import PredictionSets
from .per_image import PerImageMetric, mark_nonfinite
from .predicted_batch import all_finite


class PredictionSetMetric(PerImageMetric):
    """Coverage and mean size of prediction sets.

    They are called ``aps_coverage`` and ``aps_size``, or ``raps_coverage``
    and ``raps_size``. The sets have to be fitted on other images before, so a
    config can't name this metric.

    Args:
        sets (PredictionSets): The fitted sets; see
            :func:`~mmanchor.evaluation.fit_prediction_sets`.
    """

    default_prefix = 'sets'

    def __init__(self, sets: PredictionSets):
        super().__init__()
        self.sets = sets

    def numbers(self, batch):
        """See :class:`PerImageMetric`."""
        scores, labels = batch['pred_score'], batch.class_labels
        # NaN is no probability; such images are counted at the end
        finite = all_finite(scores)[:, None]
        inside = self.sets.of(
            scores.where(finite, 1 / scores.size(1)), check=False
        )
        covered = inside.gather(1, labels[:, None])[:, 0]
        size = mark_nonfinite(inside.sum(1).double(), scores)
        return covered, size

    def of_images(self, covered, size):
        """See :class:`PerImageMetric`."""
        return {
            f'{self.sets.method}_coverage': covered.mean().item(),
            f'{self.sets.method}_size': size.mean().item(),
        }

    def intervals(self, rows: torch.Tensor) -> dict:
        """See :class:`PerImageMetric`."""
        covered, size = rows.unbind(1)
        method = self.sets.method
        return {
            f'{method}_coverage': wilson_interval(
                covered.mean().item(), len(covered)
            ),
            f'{method}_size': normal_interval(size),
        }
