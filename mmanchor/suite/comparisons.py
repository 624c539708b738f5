"""Compares two models on the same images, with intervals for differences."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from ..evaluation.confidence_intervals import (
    auroc_difference,
    paired_interval,
)


@dataclass
class ImageAnswers:
    """What a model answered to each image of the test sets.

    Attributes:
        right (Dict[str, List[np.ndarray]]): Whether each answer is right, by
            the name of the set; one array for each kind and severity.
        scores (Dict[str, Dict[str, tuple]]): By set out of distribution and
            by anomaly score: the scores of the clean images, and those of the
            images of the set.
    """

    right: dict[str, list[np.ndarray]] = field(default_factory=dict)
    scores: dict[str, dict[str, tuple[np.ndarray, np.ndarray]]] = field(
        default_factory=dict
    )


class Difference(NamedTuple):
    """A difference of two models, in percentage points.

    Args:
        mean (float): The first model less the second one.
        low (float, optional): The lower end of its 95 % interval. Defaults
            to None: unknown.
        high (float, optional): The upper end. Defaults to None.
    """

    mean: float
    low: float | None = None
    high: float | None = None

    @property
    def is_level(self) -> bool:
        """Whether the interval holds zero, so that neither is better."""
        if self.low is None or self.high is None:
            return self.mean == 0
        return self.low <= 0 <= self.high

    @property
    def is_gain(self) -> bool:
        """Whether the first model is better, as far as that is known."""
        return self.mean > 0 and not self.is_level


def accuracy_difference(
    first: ImageAnswers, second: ImageAnswers, name: str
) -> Difference | None:
    """Compare the accuracy of two models on one set, in points.

    All kinds and severities of a corrupted set show the same images, so that
    the mean over these counts as one observation for each image.

    Returns:
        Difference | None: None if the answers of a model are not known.

    Example:
        >>> one = ImageAnswers({'a': [np.array([True, True, True])]})
        >>> other = ImageAnswers({'a': [np.array([True, False, True])]})
        >>> found = accuracy_difference(one, other, 'a')
        >>> round(found.mean, 1), found.is_level
        (33.3, True)
    """
    pairs = list(zip(first.right.get(name, ()), second.right.get(name, ())))
    if not pairs or any(len(one) != len(other) for one, other in pairs):
        return None
    cells = [one.astype(float) - other for one, other in pairs]
    mean = float(np.mean([cell.mean() for cell in cells]))
    low, high = _interval_of_mean(cells)
    return Difference(100 * mean, 100 * low, 100 * high)


def _interval_of_mean(cells: Sequence[np.ndarray]) -> tuple[float, float]:
    if len({len(cell) for cell in cells}) == 1:
        ends = paired_interval(np.mean(cells, 0))
        assert ends is not None  # a measured set has images
        return ends
    # Which images belong together is not known. The mean of the ends is wide
    # enough, however strongly the kinds depend on each other.
    ends = np.mean([paired_interval(cell) for cell in cells], 0)
    return float(ends[0]), float(ends[1])


def rejection_difference(
    first: ImageAnswers, second: ImageAnswers, name: str, scores: Sequence[str]
) -> Difference | None:
    """Compare the AUROC of two models on one set, in points.

    Args:
        scores (Sequence[str]): The score of the first model, and that of the
            second one.

    Returns:
        Difference | None: None if the scores of a model are not known.
    """
    pairs = [
        answers.scores.get(name, {}).get(score)
        for answers, score in zip((first, second), scores)
    ]
    one, other = pairs
    if one is None or other is None:
        return None
    if [len(part) for part in one] != [len(part) for part in other]:
        return None
    found = auroc_difference(one, other)
    return found and Difference(*(100 * value for value in found))
