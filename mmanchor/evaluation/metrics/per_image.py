"""What metrics over a whole data set share: a few numbers an image."""

from collections.abc import Sequence

import torch
from mmengine.evaluator import BaseMetric

from .predicted_batch import PredictedBatch, all_finite, check_images


class PerImageMetric(BaseMetric):
    """Gathers a row of numbers an image, never means of batches.

    Subclasses say which numbers, :meth:`numbers`, and what they make
    together, :meth:`of_images`. Where the data set's ``metainfo`` has
    ``kept_classes``, as ImageNet-R's, only those classes compete.

    Args:
        collect_device (str): As for MMEngine's metrics.
        prefix (str, optional): As for MMEngine's metrics.

    Raises:
        ValueError: At evaluation: there is no image, or one has NaN or
            infinity.
    """

    def numbers(self, batch: PredictedBatch) -> Sequence[torch.Tensor]:
        """The numbers of a batch, each of shape (B,); NaN: not to be used."""
        raise NotImplementedError

    def of_images(self, *columns: torch.Tensor) -> dict:
        """Metrics from the numbers of all images, each of shape (N,)."""
        raise NotImplementedError

    def rows_of(self, batch: PredictedBatch) -> torch.Tensor:
        """The numbers of a batch, (B, numbers an image), double."""
        columns = [column.double() for column in self.numbers(batch)]
        return torch.stack(columns, 1)

    def of_rows(self, rows: torch.Tensor) -> dict:
        """Metrics from the numbers of all images, (N, numbers an image)."""
        check_images(rows)
        return self.of_images(*rows.unbind(1))

    def process(self, data_batch, data_samples: Sequence[dict]) -> None:
        """Keep the numbers of a batch."""
        if data_samples:
            kept = (self.dataset_meta or {}).get('kept_classes')
            batch = PredictedBatch.of_samples(data_samples, kept)
            self.results += self.rows_of(batch).tolist()

    def compute_metrics(self, results: list[list]) -> dict:
        """The metrics over all images."""
        return self.of_rows(torch.tensor(results, dtype=torch.float64))


def marked(numbers: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """Numbers made from values; NaN where a value was NaN or infinite.

    Shape:
        - numbers, output: (B,)
        - values: (B, ...)

    Example:
        >>> marked(torch.ones(2), torch.tensor([[0.0, 1.0], [0.0, torch.inf]]))
        tensor([1., nan])
    """
    return numbers.where(all_finite(values), torch.nan)


class TopLabelMetric(PerImageMetric):
    """Gathers confidences and whether the first choice was right."""

    def numbers(self, batch):
        """See :class:`PerImageMetric`."""
        confidence, right = batch.top_label
        return marked(confidence, batch['pred_score']), right
