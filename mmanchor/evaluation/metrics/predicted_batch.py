"""Predictions of a batch as tensors, and checks of predictions."""

import math
from collections.abc import Sequence
from functools import cached_property

import torch

from ...utils.pytorch import copy_to_device

# What an error advises if a field is missing.
HINTS = dict(
    pred_score='Change the model to a classifier with one softmax.',
    pred_logits="MMPretrain's own heads give `pred_score` only. Change to a "
    'score of probabilities, or to an anchored model.',
    pred_std='Only anchored models have it, unless their protocol is '
    "'adaptive'. Change to another score.",
    num_references='Only anchored models have it. Remove the metric.',
    gt_label='Change the data set to one with labels.',
)
UNCERTAINTY_HINT = (
    'Change `uncertainty` of KReferenceHook to name it, and test '
    'without test-time augmentation.'
)
# Fields with one column for each class.
CLASS_FIELDS = ('pred_score', 'pred_logits', 'pred_std', 'reference_logits')


class KeptClasses:
    """The classes that compete, for the host and for a device.

    Example:
        >>> kept = KeptClasses((2, 5))
        >>> kept.select(torch.arange(6)[None])
        tensor([[2, 5]])
    """

    def __init__(self, classes: Sequence[int]):
        self.classes = list(classes)
        self._on: dict[torch.device, torch.Tensor] = {}

    def __len__(self) -> int:
        return len(self.classes)

    def on(self, device: torch.device) -> torch.Tensor:
        """The classes as a tensor, which is copied to a device once."""
        if device not in self._on:
            self._on[device] = copy_to_device(
                torch.tensor(self.classes), device
            )
        return self._on[device]

    def select(self, values: torch.Tensor) -> torch.Tensor:
        """Copy the columns of the classes.

        Shape:
            - values: (B, num_classes, ...)
        """
        return values.index_select(1, self.on(values.device))

    def positions(self, labels: torch.Tensor) -> torch.Tensor:
        """The positions of labels among the classes; below 0 stays as it is.

        Shape:
            - labels, output: (N,)

        Raises:
            ValueError: A label is none of the classes.
        """
        kept = self.on(labels.device)
        places = torch.searchsorted(kept, labels.clamp(min=0))
        places = places.clamp(max=len(kept) - 1)
        wrong = labels[(labels >= 0) & (kept[places] != labels)]
        if len(wrong):
            raise ValueError(
                f'Expected labels among the {len(kept)} classes that the '
                f'data set says it has, but got {wrong[0].item()}. Correct '
                '`kept_classes` of its `metainfo`.'
            )
        return places.where(labels >= 0, labels)


def class_labels(
    labels: torch.Tensor, num_classes: int, kept: KeptClasses | None = None
) -> torch.Tensor:
    """Convert labels to positions among the classes that compete.

    Args:
        labels (torch.Tensor): True labels, best on the CPU: reading them on
            a GPU waits for it.
        kept (KeptClasses, optional): The classes that compete. Defaults to
            None: all.

    Raises:
        ValueError: A label is none of these classes.

    Example:
        >>> class_labels(torch.tensor([5, 2]), 6, KeptClasses((2, 5)))
        tensor([1, 0])
    """
    if kept is not None:
        labels, num_classes = kept.positions(labels), len(kept)
    check_labels(labels, num_classes)
    return labels


class PredictedBatch:
    """Predictions for B images, and their labels.

    Args:
        fields (Dict[str, torch.Tensor]): The fields of the predictions by
            name, including ``gt_label``.
        kept_classes (Sequence[int] | KeptClasses, optional): The classes that
            the data set has, in ascending order, if only these compete, as
            for ImageNet-R and -A. Their probabilities are scaled to add up to
            1. Defaults to None: all classes.
        class_labels (torch.Tensor, optional): What :func:`class_labels`
            returned for these images, if labels were checked before they were
            copied to a device, so that no metric waits for it. Defaults to
            None, which checks ``gt_label``.

    Shape:
        - fields: (B, ...) each; labels are (B,) or (B, 1), and below 0 for
          images out of distribution

    Example:
        >>> batch = PredictedBatch(
        ...     dict(
        ...         pred_score=torch.tensor([[0.2, 0.2, 0.6]]),
        ...         gt_label=torch.tensor([1]),
        ...     ),
        ...     kept_classes=(0, 1),
        ... )
        >>> batch['pred_score'], batch.labels
        (tensor([[0.5000, 0.5000]]), tensor([1]))
    """

    def __init__(
        self,
        fields: dict[str, torch.Tensor],
        kept_classes: Sequence[int] | KeptClasses | None = None,
        class_labels: torch.Tensor | None = None,
    ):
        if kept_classes is not None and not isinstance(
            kept_classes, KeptClasses
        ):
            kept_classes = KeptClasses(kept_classes)
        self._fields = fields
        self._kept = kept_classes
        self._checked_labels = class_labels

    @classmethod
    def of_samples(
        cls, samples: Sequence[dict], kept_classes: Sequence[int] | None = None
    ):
        """Build a batch from the samples that an evaluator passes on.

        Raises:
            ValueError: An image has several labels.
        """
        for sample in samples:
            if len(sample.get('gt_label', '_')) != 1:
                raise ValueError(
                    'Expected one label an image, but got '
                    f'{len(sample["gt_label"])}. Change the data set: these '
                    'metrics are for single-label classification.'
                )
        return cls(_SampleFields(samples), kept_classes)

    def __getitem__(self, name: str) -> torch.Tensor:
        """Get a field, restricted to the kept classes.

        Shape:
            - output: (B, ...)

        Raises:
            ValueError: The predictions lack the field, or have too few
                classes.
        """
        if name == 'log_scores':
            return self.log_scores
        if name not in self._fields:
            got = (
                f'{self._fields.count_missing(name)} without it'
                if isinstance(self._fields, _SampleFields)
                else ', '.join(self._fields)
            )
            raise ValueError(
                f'Expected predictions with `{name}`, but got '
                f'{got}. {HINTS.get(name, UNCERTAINTY_HINT)}'
            )
        values = self._fields[name]
        if name not in CLASS_FIELDS:
            return values
        if name == 'pred_score' and self._drops_classes(values):
            return self.log_scores.exp().to(values.dtype)
        return self._competing(values)

    def _competing(self, values: torch.Tensor) -> torch.Tensor:
        """The columns of the classes that compete."""
        if self._kept is None or not self._drops_classes(values):
            return values
        return self._kept.select(values)

    def _drops_classes(self, values: torch.Tensor) -> bool:
        if self._kept is None or len(self._kept) == values.size(1):
            return False
        highest = max(self._kept.classes)
        if highest >= values.size(1):
            raise ValueError(
                f'Expected predictions for {highest + 1} classes or '
                'more, as `kept_classes` of the data set requires, but got '
                f'{values.size(1)}. Name another checkpoint, or correct '
                '`kept_classes`.'
            )
        return True

    @cached_property
    def log_scores(self) -> torch.Tensor:
        """Logarithms of ``pred_score``, normalised over the kept classes.

        They are computed from logits where possible, because probabilities
        that underflowed or rounded to 1 have lost their order: from
        ``answer``, whose softmax is ``pred_score``, or otherwise from
        ``pred_logits`` for images for which that is true. If ``pred_score``
        is another average over references, they are computed from it, or from
        the mean logits for images whose kept classes all underflowed.

        Shape:
            - output: (B, num_classes), double

        Raises:
            ValueError: There are no logits, and the probabilities of all kept
                classes underflowed.
        """
        if 'answer' in self._fields:  # nothing to compare, which would wait
            answer = self._fields['answer']
            return self._competing(answer).double().log_softmax(1)
        scores = (
            self['pred_score']
            if self._kept is None
            else self._fields['pred_score']
        )
        smallest = torch.finfo(scores.dtype).tiny
        logs = scores.double().clamp(min=smallest).log()
        logs = logs.where(scores.isfinite(), math.nan)
        lost = self._competing(scores).amax(1) < smallest
        result = self._competing(logs).log_softmax(1)
        logits = (
            self._fields['pred_logits'].double()
            if 'pred_logits' in self._fields
            else None
        )
        if logits is not None and logits.shape == scores.shape:
            expected = logits.log_softmax(1).clamp(min=math.log(smallest))
            same = (expected - logs).abs() <= 0.02 + 0.01 * logs.abs()
            usable = lost | same.all(1)
            result = (
                self._competing(logits)
                .log_softmax(1)
                .where(usable[:, None], result)
            )
            lost = lost & ~usable
        if lost.any():
            raise ValueError(
                'Expected a probability above 0 for one of the kept classes, '
                f'but got 0 for all of them for {lost.sum().item()} images: '
                'they underflowed. Test with `tools/evaluate.py`, which uses '
                'logits.'
            )
        return result

    def __contains__(self, name: str) -> bool:
        return (name if name != 'log_scores' else 'pred_score') in self._fields

    @cached_property
    def labels(self) -> torch.Tensor:
        """Labels as positions among the kept classes.

        Labels below 0 mark images out of distribution.

        Shape:
            - output: (B,)

        Raises:
            ValueError: The batch has no labels, or a label is not among the
                kept classes.
        """
        if self._checked_labels is not None:
            return self._checked_labels
        labels = self['gt_label'].flatten()
        return labels if self._kept is None else self._kept.positions(labels)

    @cached_property
    def class_labels(self) -> torch.Tensor:
        """Labels as positions among the kept classes, none below 0.

        Shape:
            - output: (B,)

        Raises:
            ValueError: A label is none of the classes.
        """
        if self._checked_labels is None:
            check_labels(self.labels, self['pred_score'].size(1))
        return self.labels

    @cached_property
    def top_label(self) -> tuple[torch.Tensor, torch.Tensor]:
        """The confidence of each answer, and whether it is right.

        See :func:`top_label`.
        """
        return _top_label(self['pred_score'], self.class_labels)


def check_predictions(
    scores: torch.Tensor, labels: torch.Tensor
) -> torch.Tensor:
    """Raise unless scores are probabilities with one label for each row.

    Probabilities may be off by 0.001 and their sum by 0.02, as much as
    rounding to half precision causes.

    Shape:
        - scores: (N, num_classes)
        - labels: (N,)

    Returns:
        torch.Tensor: The labels as int64, which torch needs to index.

    Raises:
        TypeError: ``scores`` are not floating-point, or ``labels`` are not
            integers.
        ValueError: A shape is wrong, there is no image, a score is NaN or
            infinite, or a row does not consist of probabilities.

    Example:
        >>> check_predictions(
        ...     torch.tensor([[0.5, 0.5]]),
        ...     torch.tensor([1], dtype=torch.uint8),
        ... )
        tensor([1])
    """
    if not scores.is_floating_point():
        raise TypeError(
            'Expected `scores` to be floating-point probabilities,'
            f' but got {scores.dtype}. Convert `scores`.'
        )
    labels = integer_labels(labels)
    if scores.dim() != 2 or labels.shape != scores.shape[:1]:
        raise ValueError(
            'Expected `scores` of shape (N, num_classes) and `labels` of '
            f'shape (N,), but got {tuple(scores.shape)} and '
            f'{tuple(labels.shape)}. Change either.'
        )
    check_images(scores)
    total = scores.double().sum(1)
    wrong = ((scores < -1e-3) | (scores > 1 + 1e-3)).any(1)
    wrong |= (total - 1).abs() > 0.02
    if wrong.any():
        row = scores[wrong][0]
        raise ValueError(
            'Expected `scores` to be probabilities, which are in [0, 1] and '
            f'add up to 1, but got values from {row.min().item():.4g} to '
            f'{row.max().item():.4g} that add up to {row.sum().item():.4g}. '
            'Give `logits.softmax(1)`, or divide percentages by 100.'
        )
    return labels


def integer_labels(labels: torch.Tensor) -> torch.Tensor:
    """Convert integer labels to int64.

    The labels of CIFAR-10-C, for example, are uint8.

    Raises:
        TypeError: The labels are not integers.

    Example:
        >>> integer_labels(torch.tensor([3], dtype=torch.uint8)).dtype
        torch.int64
    """
    if labels.is_floating_point() or labels.dtype == torch.bool:
        raise TypeError(
            'Expected `labels` to be integers, but got '
            f'{labels.dtype}. Convert `labels`.'
        )
    return labels.long()


def check_labels(labels: torch.Tensor, num_classes: int) -> None:
    """Raise if a label is none of the classes.

    Raises:
        ValueError: A label is below 0, or not below ``num_classes``.

    Example:
        >>> check_labels(torch.tensor([0, 9]), 10)
    """
    wrong = labels[(labels < 0) | (labels >= num_classes)]
    if len(wrong):
        raise ValueError(
            f'Expected labels from 0 to {num_classes - 1}, but got '
            f'{wrong[0].item()}. Change the data set or the evaluator: '
            'images out of distribution (labels below 0) are for '
            'AnomalyRejection only.'
        )


def top_label(
    scores: torch.Tensor, labels: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Compute the confidence of each answer, and whether it is right.

    Shape:
        - scores: (N, num_classes)
        - labels: (N,)
        - output: (N,), double, and (N,), bool

    Raises:
        ValueError: A label is none of the classes.

    Example:
        >>> top_label(torch.tensor([[0.25, 0.75]]), torch.tensor([0]))
        (tensor([0.7500], dtype=torch.float64), tensor([False]))
    """
    check_labels(labels, scores.size(1))
    return _top_label(scores, labels)


def _top_label(scores, labels) -> tuple[torch.Tensor, torch.Tensor]:
    confidence, predicted = scores.double().max(dim=1)
    return confidence, predicted == labels


def check_images(values: torch.Tensor) -> None:
    """Raise if there is no image, or if one has NaN or infinite values.

    Raises:
        ValueError: There is no image, or one has NaN or infinite values.

    Example:
        >>> check_images(torch.zeros(2, 3))
    """
    if not len(values):
        raise ValueError(
            'Expected predictions of one image or more, but got '
            'none. Change the data set, or call `process` '
            'before `evaluate`.'
        )
    bad = (~all_finite(values)).sum().item()
    if bad:
        raise ValueError(
            f'Expected finite predictions, but got NaN or infinity for {bad} '
            f'of {len(values)} images. Change the checkpoint or the '
            'precision it is tested in.'
        )


def all_finite(values: torch.Tensor) -> torch.Tensor:
    """Say which images have finite values only.

    Shape:
        - values: (B, ...)
        - output: (B,), bool
    """
    return values.reshape(len(values), -1).isfinite().all(1)


class _SampleFields:
    """Stacks a field of all samples, on the CPU, when it is needed."""

    def __init__(self, samples):
        self.samples = samples

    def __contains__(self, name):
        return not self.count_missing(name)

    def count_missing(self, name) -> int:
        """Count the samples that lack a field."""
        return sum(name not in sample for sample in self.samples)

    def __getitem__(self, name):
        return torch.stack(
            [torch.as_tensor(s[name]) for s in self.samples]
        ).cpu()
