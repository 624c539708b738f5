"""What metrics over a whole data set share: a few numbers an image."""
from typing import List, Sequence, Tuple

import torch
from mmengine.evaluator import BaseMetric

HINTS = dict(
    pred_score='Change the model to a classifier with one softmax.',
    pred_logits="MMPretrain's own heads give `pred_score` only. Change to a "
    'score of probabilities, or to an anchored model.',
    pred_std='Only anchored models have it. Change to another score.',
    gt_label='Change the data set to one with labels.')
CARRIED = ('Change `uncertainty` of KReferenceHook to name it, and test '
           'without test-time augmentation.')


class PerImageMetric(BaseMetric):
    """Gathers a row of numbers an image, never means of batches.

    Subclasses say which numbers, :meth:`numbers`, and what they make
    together, :meth:`of_images`.

    Args:
        collect_device (str): As for MMEngine's metrics.
        prefix (str, optional): As for MMEngine's metrics.

    Raises:
        ValueError: At evaluation: there is no image, or one has NaN or
            infinity.
    """

    def numbers(self, samples: Sequence[dict]) -> Sequence[torch.Tensor]:
        """The numbers of a batch, each of shape (B,); NaN: not to be used."""
        raise NotImplementedError

    def of_images(self, *columns: torch.Tensor) -> dict:
        """Metrics from the numbers of all images, each of shape (N,)."""
        raise NotImplementedError

    def process(self, data_batch, data_samples: Sequence[dict]) -> None:
        """Keep the numbers of a batch."""
        if data_samples:
            columns = [
                column.double() for column in self.numbers(data_samples)
            ]
            self.results += torch.stack(columns, 1).tolist()

    def compute_metrics(self, results: List[list]) -> dict:
        """The metrics over all images."""
        rows = torch.tensor(results, dtype=torch.float64)
        check_images(rows)
        return self.of_images(*rows.unbind(1))


def check_images(values: torch.Tensor) -> None:
    """Refuse none at all, NaN and infinity.

    Args:
        values (torch.Tensor): One row, or one number, an image.

    Raises:
        ValueError: There is no image, or one has NaN or infinity.

    Example:
        >>> check_images(torch.zeros(2, 3))
    """
    if not len(values):
        raise ValueError('Expected predictions of one image or more, but got '
                         'none. Change the data set, or call `process` '
                         'before `evaluate`.')
    bad = (~_usable(values)).sum().item()
    if bad:
        raise ValueError(
            f'Expected finite predictions, but got NaN or infinity for {bad} '
            f'of {len(values)} images. Change the checkpoint or the '
            'precision it is tested in.')


def field(samples: Sequence[dict], name: str) -> torch.Tensor:
    """One field of a batch of predictions, on CPU.

    Shape:
        - output: (B, ...)

    Raises:
        ValueError: The predictions don't have it.

    Example:
        >>> field([dict(pred_score=torch.zeros(3))] * 2, 'pred_score').shape
        torch.Size([2, 3])
    """
    missing = sum(name not in sample for sample in samples)
    if missing:
        raise ValueError(
            f'Expected predictions with `{name}`, but got {missing} without '
            f'it. {HINTS.get(name, CARRIED)}')
    return torch.stack([torch.as_tensor(s[name]) for s in samples]).cpu()


def marked(numbers: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """Numbers made from values; NaN where a value was NaN or infinite.

    Shape:
        - numbers, output: (B,)
        - values: (B, ...)

    Example:
        >>> marked(torch.ones(2), torch.tensor([[0., 1.], [0., torch.inf]]))
        tensor([1., nan])
    """
    return numbers.where(_usable(values), torch.nan)


def labels_of(samples: Sequence[dict]) -> torch.Tensor:
    """One label an image; below 0 is out of distribution.

    Shape:
        - output: (B,)

    Raises:
        ValueError: An image has none, or several.

    Example:
        >>> labels_of([dict(gt_label=torch.tensor([3]))])
        tensor([3])
    """
    for sample in samples:
        if len(sample.get('gt_label', '_')) != 1:
            raise ValueError(
                'Expected one label an image, but got '
                f'{len(sample["gt_label"])}. Change the data set: these '
                'metrics are of single-label classification.')
    return field(samples, 'gt_label').flatten()


def check_labels(labels: torch.Tensor, num_classes: int) -> None:
    """Refuse labels that are none of the classes.

    Raises:
        ValueError: See above.

    Example:
        >>> check_labels(torch.tensor([0, 9]), 10)
    """
    wrong = labels[(labels < 0) | (labels >= num_classes)]
    if len(wrong):
        raise ValueError(
            f'Expected labels from 0 to {num_classes - 1}, but got '
            f'{wrong[0].item()}. Change the data set or the evaluator: '
            'images out of distribution (labels below 0) are for '
            'AnomalyRejection only.')


def top_label(scores: torch.Tensor,
              labels: torch.Tensor) -> Tuple[torch.Tensor, torch.Tensor]:
    """How sure of its first choice, and whether that is right.

    Args:
        scores (torch.Tensor): Predicted probabilities.
        labels (torch.Tensor): True labels.

    Shape:
        - scores: (N, num_classes)
        - labels: (N,)
        - output: (N,), double, and (N,), bool

    Raises:
        ValueError: A label is none of the classes.

    Example:
        >>> top_label(torch.tensor([[.25, .75]]), torch.tensor([0]))
        (tensor([0.7500], dtype=torch.float64), tensor([False]))
    """
    check_labels(labels, scores.size(1))
    confidence, predicted = scores.double().max(dim=1)
    return confidence, predicted == labels


class TopLabelMetric(PerImageMetric):
    """Gathers confidences and whether the first choice was right."""

    def numbers(self, samples):
        """See :class:`PerImageMetric`."""
        scores = field(samples, 'pred_score')
        confidence, right = top_label(scores, labels_of(samples))
        return marked(confidence, scores), right


def _usable(values: torch.Tensor) -> torch.Tensor:
    return values.reshape(len(values), -1).isfinite().all(1)
