"""95 % confidence intervals of metrics that were measured on some images."""

import math
from statistics import NormalDist

import numpy as np
import torch

# A normal variable is within so many standard deviations in 95 % of cases.
Z = NormalDist().inv_cdf(0.975)


def wilson_interval(share: float, count: int) -> tuple[float, float]:
    """Compute Wilson's score interval for a share, such as an accuracy.

    Unlike a normal interval, it stays within [0, 1], and does not collapse to
    a point if all images are right.

    Args:
        share (float): Share of images, in [0, 1].
        count (int): Number of images.

    Example:
        >>> low, high = wilson_interval(0.9, 100)
        >>> round(low, 3), round(high, 3)
        (0.826, 0.945)

    Source: E. B. Wilson, Probable Inference, the Law of Succession, and
    Statistical Inference, JASA 1927.
    """
    centre = (share + Z**2 / (2 * count)) / (1 + Z**2 / count)
    half = (
        Z
        * math.sqrt(share * (1 - share) / count + (Z / (2 * count)) ** 2)
        / (1 + Z**2 / count)
    )
    return max(0.0, centre - half), min(1.0, centre + half)


def normal_interval(values: torch.Tensor) -> tuple[float, float] | None:
    """Compute the interval of the central limit theorem for a mean.

    Shape:
        - values: (N,)

    Returns:
        tuple | None: The ends of the interval; None for fewer than two
        images.

    Example:
        >>> low, high = normal_interval(torch.tensor([0.0, 1.0, 2.0]))
        >>> round(low, 3), round(high, 3)
        (-0.132, 2.132)
    """
    if len(values) < 2:
        return None
    values = values.double()
    half = Z * values.std().item()
    half /= math.sqrt(len(values))
    mean = values.mean().item()
    return mean - half, mean + half


def auroc_interval(
    inside: np.ndarray, outside: np.ndarray
) -> tuple[float, float] | None:
    """Compute DeLong's interval for the area under the ROC curve.

    Args:
        inside (np.ndarray): Scores of images in distribution.
        outside (np.ndarray): Scores of images out of distribution, which
            should be larger.

    Returns:
        tuple | None: The ends of the interval, within [0, 1]; None if one
        side has fewer than two images.

    Example:
        >>> low, high = auroc_interval(
        ...     np.array([0.0, 1.0, 2.0]), np.array([1.5, 2.5, 3.5])
        ... )
        >>> round(low, 3), round(high, 3)
        (0.581, 1.0)

    Source: E. DeLong, D. DeLong and D. Clarke-Pearson, Comparing the Areas
    under Two or More Correlated Receiver Operating Characteristic Curves,
    Biometrics 1988.
    """
    if min(len(inside), len(outside)) < 2:
        return None
    above, below = _right_ranks(inside, outside)
    half = Z * math.sqrt(_variance(above, below))
    area = float(above.mean())
    return max(0.0, area - half), min(1.0, area + half)


def paired_interval(differences: np.ndarray) -> tuple[float, float] | None:
    """Compute the interval of a mean difference of two models on same images.

    A pseudo-observation is added to each of the four cells of the table of
    who is right. So the interval does not collapse to a point where the
    models answer all images alike.

    Args:
        differences (np.ndarray): For each image 1 if only the first model is
            right, -1 if only the second one is, else 0; or the mean of these
            over several versions of the image.

    Returns:
        tuple | None: The ends of the interval, within [-1, 1]; None without
        images.

    Example:
        >>> low, high = paired_interval(np.array([1.0] * 5 + [0.0] * 95))
        >>> round(low, 3), round(high, 3)
        (0.003, 0.095)

    Source: A. Agresti and Y. Min, Simple Improved Confidence Intervals for
    Comparing Matched Proportions, Statistics in Medicine 2005. Means over
    versions of an image are our extension; they get the same observations.
    """
    if not len(differences):
        return None
    count = len(differences) + 2
    mean = float(differences.sum()) / count
    square = (float((differences**2).sum()) + 1) / count
    half = Z * math.sqrt((square - mean**2) / count)
    return max(-1.0, mean - half), min(1.0, mean + half)


def auroc_difference(
    first: tuple[np.ndarray, np.ndarray], second: tuple[np.ndarray, np.ndarray]
) -> tuple[float, float, float] | None:
    """Compute how much two scores of the same images differ in AUROC.

    Args:
        first (tuple[np.ndarray, np.ndarray]): One score of the images in
            distribution, and of those out of distribution.
        second (tuple[np.ndarray, np.ndarray]): Another score of the same
            images.

    Returns:
        tuple | None: The first area less the second one, and the ends of the
        interval; None if one side has fewer than two images.

    Example:
        >>> inside, outside = np.array([0.0, 1.0]), np.array([1.0, 2.0])
        >>> auroc_difference((inside, outside), (inside, outside))
        (0.0, 0.0, 0.0)

    Source: see :func:`auroc_interval`.
    """
    if min(map(len, first)) < 2:
        return None
    above, below = (
        one - other
        for one, other in zip(_right_ranks(*first), _right_ranks(*second))
    )
    half = Z * math.sqrt(_variance(above, below))
    mean = float(above.mean())
    return mean, mean - half, mean + half


def rank_correlation(
    first: np.ndarray, second: np.ndarray
) -> tuple[float, float, float] | None:
    """Compute Spearman's rank correlation and its confidence interval.

    Returns:
        tuple | None: The correlation, in [-1, 1], and the ends of the
        interval; None for fewer than four things, or where all numbers of one
        kind are the same.

    Example:
        >>> found = rank_correlation(np.arange(5), np.array([0, 2, 1, 3, 4]))
        >>> [round(one, 2) for one in found]
        [0.9, -0.17, 1.0]

    Source: D. Bonett and T. Wright, Sample Size Requirements for Estimating
    Pearson, Kendall and Spearman Correlations, Psychometrika 2000.
    """
    if len(first) < 4 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return None
    rho = float(np.corrcoef(_ranks(first), _ranks(second))[0, 1])
    error = math.sqrt((1 + rho**2 / 2) / (len(first) - 3))
    half = Z * error
    # 1 itself would have no interval
    centre = math.atanh(max(-1 + 1e-9, min(1 - 1e-9, rho)))
    return rho, math.tanh(centre - half), math.tanh(centre + half)


def _ranks(values: np.ndarray) -> np.ndarray:
    """Places in ascending order; equal numbers share the mean of theirs."""
    _, group, count = np.unique(
        values, return_inverse=True, return_counts=True
    )
    return (count.cumsum() - (count - 1) / 2)[group]


def _right_ranks(
    inside: np.ndarray, outside: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Compute the share of the other side that each image ranks right to.

    Returns:
        tuple: Of the images out of distribution, and of those in it.
    """
    return _share_below(outside, inside), 1 - _share_below(inside, outside)


def _variance(above: np.ndarray, below: np.ndarray) -> float:
    """DeLong's variance of an area, or of a difference of areas."""
    return above.var(ddof=1) / len(above) + below.var(ddof=1) / len(below)


def _share_below(values: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Compute the share of others below each value; ties count half."""
    order = np.sort(others)
    places = sum(
        np.searchsorted(order, values, side) for side in ('left', 'right')
    )
    return places / (2 * len(order))
