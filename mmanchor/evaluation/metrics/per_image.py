"""Base classes of metrics that store a few numbers for each image."""

from collections.abc import Sequence

import torch
from mmengine.evaluator import BaseMetric

from .predicted_batch import PredictedBatch, all_finite, check_images


class PerImageMetric(BaseMetric):
    """Stores numbers for each image, so that the batch size has no influence.

    Subclasses define these numbers in :meth:`numbers`, and compute the metric
    from the numbers of all images in :meth:`of_images`. If the ``metainfo``
    of the data set has ``kept_classes``, as for ImageNet-R, only those classes
    compete.

    Args:
        collect_device (str): See MMEngine's ``BaseMetric``.
        prefix (str, optional): See MMEngine's ``BaseMetric``.

    Raises:
        ValueError: At evaluation, there is no image, or a prediction contains
            NaN or infinity.
    """

    def numbers(self, batch: PredictedBatch) -> Sequence[torch.Tensor]:
        """Compute the numbers of a batch, each of shape (B,).

        An image with invalid predictions has NaN.
        """
        raise NotImplementedError

    def of_images(self, *columns: torch.Tensor) -> dict:
        """Compute metrics from the numbers of all images, each (N,)."""
        raise NotImplementedError

    def intervals(self, rows: torch.Tensor) -> dict:
        """Compute 95 % confidence intervals of the figures that have one.

        Args:
            rows (torch.Tensor): The numbers of all images.

        Shape:
            - rows: (N, numbers per image)

        Returns:
            Dict[str, tuple | None]: The ends, by the name of the figure.
            Empty unless a subclass has some.
        """
        return {}

    def rows_of(self, batch: PredictedBatch) -> torch.Tensor:
        """Stack the numbers of a batch: (B, numbers per image), double."""
        columns = [column.double() for column in self.numbers(batch)]
        return torch.stack(columns, 1)

    def of_rows(self, rows: torch.Tensor) -> dict:
        """Compute metrics from stacked numbers (N, numbers per image)."""
        check_images(rows)
        return self.of_images(*rows.unbind(1))

    def process(self, data_batch, data_samples: Sequence[dict]) -> None:
        """Store the numbers of a batch."""
        if data_samples:
            kept = (self.dataset_meta or {}).get('kept_classes')
            batch = PredictedBatch.of_samples(data_samples, kept)
            self.results += self.rows_of(batch).tolist()

    def compute_metrics(self, results: list[list]) -> dict:
        """Compute the metrics over all images."""
        return self.of_rows(torch.tensor(results, dtype=torch.float64))


def mark_nonfinite(
    numbers: torch.Tensor, values: torch.Tensor
) -> torch.Tensor:
    """Replace numbers by NaN where they come from NaN or infinite values.

    Args:
        numbers (torch.Tensor): One number for each image.
        values (torch.Tensor): The values that the numbers were computed from.

    Shape:
        - numbers, output: (B,)
        - values: (B, ...)

    Example:
        >>> values = torch.tensor([[0.0, 1.0], [0.0, torch.inf]])
        >>> mark_nonfinite(torch.ones(2), values)
        tensor([1., nan])
    """
    return numbers.where(all_finite(values), torch.nan)


class TopLabelMetric(PerImageMetric):
    """Stores the confidence of each answer, and whether it was right."""

    def numbers(self, batch):
        """See :class:`PerImageMetric`."""
        confidence, right = batch.top_label
        return mark_nonfinite(confidence, batch['pred_score']), right
