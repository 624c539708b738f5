"""The predictions of a batch, each field one tensor."""
from functools import cached_property
from typing import Dict, Optional, Sequence, Tuple

import torch

HINTS = dict(
    pred_score='Change the model to a classifier with one softmax.',
    pred_logits="MMPretrain's own heads give `pred_score` only. Change to a "
    'score of probabilities, or to an anchored model.',
    pred_std='Only anchored models have it, unless their protocol is '
    "'adaptive'. Change to another score.",
    num_references='Only anchored models have it. Leave the metric out.',
    gt_label='Change the data set to one with labels.')
CARRIED = ('Change `uncertainty` of KReferenceHook to name it, and test '
           'without test-time augmentation.')
OF_CLASSES = ('pred_score', 'pred_logits', 'pred_std', 'reference_logits')


class PredictedBatch:
    """Fields of the predictions for B images, and their labels.

    Args:
        fields (Dict[str, torch.Tensor]): By name, ``gt_label`` among them.
        kept_classes (Sequence[int], optional): The classes that a data set
            has, where these alone compete, as in ImageNet-R and -A:
            probabilities add up to 1 over them. Ascending. Defaults to all.

    Shape:
        - fields: (B, ...) each; labels (B,) or (B, 1), below 0 out of
          distribution

    Example:
        >>> batch = PredictedBatch(
        ...     dict(pred_score=torch.tensor([[.2, .2, .6]]),
        ...          gt_label=torch.tensor([1])), kept_classes=(0, 1))
        >>> batch['pred_score'], batch.labels
        (tensor([[0.5000, 0.5000]]), tensor([1]))
    """

    def __init__(self,
                 fields: Dict[str, torch.Tensor],
                 kept_classes: Optional[Sequence[int]] = None):
        self._fields = fields
        self._kept = kept_classes

    @classmethod
    def of_samples(cls,
                   samples: Sequence[dict],
                   kept_classes: Optional[Sequence[int]] = None):
        """The predictions of a batch as evaluators give them.

        Raises:
            ValueError: An image has several labels.
        """
        for sample in samples:
            if len(sample.get('gt_label', '_')) != 1:
                raise ValueError(
                    'Expected one label an image, but got '
                    f'{len(sample["gt_label"])}. Change the data set: these '
                    'metrics are of single-label classification.')
        return cls(_Stacked(samples), kept_classes)

    def __getitem__(self, name: str) -> torch.Tensor:
        """A field; of the kept classes only.

        Shape:
            - output: (B, ...)

        Raises:
            ValueError: The predictions don't have it, or are for fewer
                classes than those that are kept.
        """
        if name not in self._fields:
            got = (f'{self._fields.lacking(name)} without it' if isinstance(
                self._fields, _Stacked) else ', '.join(self._fields))
            raise ValueError(f'Expected predictions with `{name}`, but got '
                             f'{got}. {HINTS.get(name, CARRIED)}')
        values = self._fields[name]
        if (self._kept is None or name not in OF_CLASSES
                or len(self._kept) == values.size(1)):
            return values
        if max(self._kept) >= values.size(1):
            raise ValueError(
                f'Expected predictions for {max(self._kept) + 1} classes or '
                f'more, some of which alone compete, but got {values.size(1)}.'
                ' Name another checkpoint, or mend `kept_classes`.')
        values = values[:, list(self._kept)]
        if name == 'pred_score':
            values = values / values.sum(1, keepdim=True)
        return values

    def __contains__(self, name: str) -> bool:
        return name in self._fields

    @property
    def labels(self) -> torch.Tensor:
        """Among the kept classes; below 0 is out of distribution.

        Shape:
            - output: (B,)

        Raises:
            ValueError: There are none, or one is not among the kept classes.
        """
        labels = self['gt_label'].flatten()
        if self._kept is None:
            return labels
        kept = torch.tensor(self._kept, device=labels.device)
        places = torch.searchsorted(kept, labels.clamp(min=0))
        places = places.clamp(max=len(kept) - 1)
        wrong = labels[(labels >= 0) & (kept[places] != labels)]
        if len(wrong):
            raise ValueError(
                f'Expected labels among the {len(kept)} classes that the '
                f'data set says it has, but got {wrong[0].item()}. Mend '
                '`kept_classes` of its `metainfo`.')
        return places.where(labels >= 0, labels)

    @cached_property
    def top_label(self) -> Tuple[torch.Tensor, torch.Tensor]:
        """See :func:`top_label`."""
        return top_label(self['pred_score'], self.labels)


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


class _Stacked:
    """Fields of samples, stacked when they are asked for, on CPU."""

    def __init__(self, samples):
        self.samples = samples

    def __contains__(self, name):
        return not self.lacking(name)

    def lacking(self, name) -> int:
        """How many samples don't have it."""
        return sum(name not in sample for sample in self.samples)

    def __getitem__(self, name):
        return torch.stack([torch.as_tensor(s[name])
                            for s in self.samples]).cpu()
