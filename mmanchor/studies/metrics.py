"""Figures that a study compares, by short names."""
from statistics import mean
from typing import Callable, Dict, NamedTuple, Optional

from ..suite.report.reading import clean, scores, shift


class Metric(NamedTuple):
    """A figure of a model.

    Attributes:
        title (str): A column's or a panel's.
        digits (int): To show behind the point.
        find (Callable): What it is, from a model of a suite's results and
            the name of the shifted set; None where there is none.
    """
    title: str
    digits: int
    find: Callable[[dict, str], Optional[float]]


def _mean(figure: str) -> Callable:
    return lambda row, shifted: (shift(row, shifted).get('mean') or {}).get(
        figure)


def _clean(figure: str) -> Callable:
    return lambda row, shifted: clean(row).get(figure)


def _severity(severity: int) -> Callable:

    def find(row, shifted):
        found = shift(row, shifted).get('by_severity') or {}
        return (found.get(str(severity)) or {}).get('top1')

    return find


def _auroc(row: dict, shifted: str) -> Optional[float]:
    """Mean over sets out of distribution, by energy, in %."""
    found = [
        scores(row, name)['energy']['auroc'] for name in row.get('ood') or ()
        if 'energy' in scores(row, name)
    ]
    return 100 * mean(found) if found else None


def _around(part: str, centre: bool = False) -> Callable:
    """Mean over a landscape, or at the weights as they were trained."""

    def find(row, shifted):
        found = (row.get('landscape') or {}).get(part)
        if found is None:
            return None
        middle = len(found) // 2
        return found[middle][middle] if centre else mean(map(mean, found))

    return find


METRICS: Dict[str, Metric] = {
    'clean':
    Metric('clean accuracy (%)', 1, _clean('top1')),
    'corrupted':
    Metric('corrupted accuracy (%)', 1, _mean('top1')),
    'ece':
    Metric('ECE, clean', 3, _clean('ece')),
    'corrupted_ece':
    Metric('ECE, corrupted', 3, _mean('ece')),
    'smooth_ece':
    Metric('smECE, clean', 3, _clean('smooth_ece')),
    'corrupted_smooth_ece':
    Metric('smECE, corrupted', 3, _mean('smooth_ece')),
    'spread':
    Metric('spread over references', 3, _mean('spread')),
    'auroc':
    Metric('AUROC by energy (%)', 1, _auroc),
    'seconds':
    Metric('seconds for 1000 images', 2, lambda row, _: None),
    'centre':
    Metric('accuracy at the weights (%)', 1,
           _around('normalised', centre=True)),
    'around':
    Metric('around them, normalised (%)', 1, _around('normalised')),
    'around_raw':
    Metric('around them, raw (%)', 1, _around('raw')),
    **{
        f'severity_{i}': Metric(f'accuracy, severity {i} (%)', 1, _severity(i))
        for i in range(1, 6)
    },
}

# what differs from run to run, and is kept with the times
OF_TIMES = ('seconds', )


def values_of(row: dict, shifted: str) -> Dict[str, float]:
    """All metrics that a model has.

    Args:
        row (dict): One of the models of a suite's results.
        shifted (str): The shifted set that "corrupted" means.

    Example:
        >>> values_of(dict(clean=dict(figures=dict(top1=90., ece=.1))), 'C')
        {'clean': 90.0, 'ece': 0.1}
    """
    found = {
        name: metric.find(row, shifted)
        for name, metric in METRICS.items()
    }
    return {name: value for name, value in found.items() if value is not None}


def shown(value: Optional[float], metric: str) -> str:
    """A value to read, a dash for none.

    Example:
        >>> shown(88.349, 'clean'), shown(.0312, 'ece')
        ('88.3', '0.031')
    """
    return '–' if value is None else f'{value:.{METRICS[metric].digits}f}'
