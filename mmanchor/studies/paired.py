"""Differences of settings from a baseline, paired by seed."""

import math
from collections.abc import Sequence
from statistics import mean, stdev

CONFIDENCE = 0.95


def t_interval(
    values: Sequence[float], confidence: float = CONFIDENCE
) -> tuple[float, float] | None:
    """Student's t-interval for a mean.

    Args:
        values (Sequence[float]): Independent draws, such as the differences
            of two settings, one a seed.
        confidence (float): How often such intervals hold the mean. Defaults
            to 0.95.

    Returns:
        tuple | None: Its ends; None of fewer than two values.

    Raises:
        ImportError: SciPy is not installed.

    Example:
        >>> low, high = t_interval([1.0, 2.0, 3.0])
        >>> round(low, 3), round(high, 3)
        (-0.484, 4.484)

    Source: Student, The Probable Error of a Mean, Biometrika 1908.
    """
    if len(values) < 2:
        return None
    try:
        from scipy.stats import t
    except ImportError as error:
        raise ImportError(
            'Intervals are computed by SciPy, which is not installed. Install '
            'it with `pip install "mmanchor[eval]"`.'
        ) from error
    quantile = float(t.ppf((1 + confidence) / 2, len(values) - 1))
    half = quantile * stdev(values) / math.sqrt(len(values))
    return mean(values) - half, mean(values) + half


def paired_difference(
    values: dict[str, dict[str, float]], baseline: dict[str, dict[str, float]]
) -> dict:
    """Compare a setting with a baseline, seed by seed.

    Args:
        values (Dict[str, Dict[str, float]]): Metrics of the setting, by seed.
        baseline (Dict[str, Dict[str, float]]): The same of the baseline.

    Returns:
        dict: ``left_out``: seeds that only one of the two has; ``metrics``:
        of each metric the ``mean`` of the differences, their ``interval``
        (None of one), ``n`` of them, and whether they are ``level``: whether
        the interval holds zero (None without one).

    Example:
        >>> found = paired_difference(
        ...     {'0': {'clean': 9.0}, '1': {'clean': 8.0}},
        ...     {'0': {'clean': 7.0}, '2': {'clean': 6.0}},
        ... )
        >>> found['metrics']['clean']
        {'mean': 2.0, 'interval': None, 'n': 1, 'level': None}
        >>> found['left_out']
        ['1', '2']
    """
    both = [seed for seed in values if seed in baseline]
    differences: dict[str, list[float]] = {}
    for seed in both:
        for name, value in values[seed].items():
            if name in baseline[seed]:
                differences.setdefault(name, []).append(
                    value - baseline[seed][name]
                )
    metrics = {}
    for name, found in differences.items():
        interval = t_interval(found)
        metrics[name] = dict(
            mean=mean(found),
            interval=interval and list(interval),
            n=len(found),
            level=interval and bool(interval[0] <= 0 <= interval[1]),
        )
    return dict(
        left_out=[seed for seed in {**values, **baseline} if seed not in both],
        metrics=metrics,
    )
