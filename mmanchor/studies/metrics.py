"""Figures that a study compares, by short names."""

from collections.abc import Callable, Iterable, Iterator
from statistics import mean, pstdev
from typing import (
    NamedTuple,
)

from ..datasets.shifts.kinds import C_GROUPS
from ..suite.report.reading import clean, scores, shift
from .slug import slug

Find = Callable[[dict, str], float | None]


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
    find: Find


def _clean(figure: str) -> Find:
    return lambda row, shifted: clean(row).get(figure)


def _mean(figure: str) -> Find:
    return lambda row, shifted: (shift(row, shifted).get('mean') or {}).get(
        figure
    )


def _scaled(find: Find) -> Find:
    """The same figure after temperature scaling."""
    return lambda row, shifted: find(
        row.get('temperature_scaled') or {}, shifted
    )


def _severity(severity: int) -> Find:

    def find(row, shifted):
        found = shift(row, shifted).get('by_severity') or {}
        return (found.get(str(severity)) or {}).get('top1')

    return find


def _group(group: str) -> Find:
    """Mean accuracy over the kinds of a group, each a mean over severities."""

    def find(row, shifted):
        by_kind = shift(row, shifted).get('by_kind') or {}
        found = [
            by_kind[kind]['top1']
            for kind in C_GROUPS[group]
            if kind in by_kind
        ]
        return mean(found) if found else None

    return find


def _auroc_of(name: str) -> Find:
    """AUROC by energy on one set out of distribution, in %."""

    def find(row, shifted):
        found = scores(row, name).get('energy')
        return found and 100 * found['auroc']

    return find


def _auroc(row: dict, shifted: str) -> float | None:
    """Mean over sets out of distribution."""
    found = [_auroc_of(name)(row, shifted) for name in row.get('ood') or ()]
    found = [one for one in found if one is not None]
    return mean(found) if found else None


def _single(
    figures_of: Callable[[dict, str], dict], summary: Callable[[list], float]
) -> Find:
    """A summary of the accuracies with each reference alone."""

    def find(row, shifted):
        figures = figures_of(row, shifted)
        found = [
            value
            for name, value in figures.items()
            if name.startswith('top1_reference_')
        ]
        return summary(found) if found else None

    return find


def _figures_clean(row: dict, shifted: str) -> dict:
    return clean(row)


def _figures_corrupted(row: dict, shifted: str) -> dict:
    return shift(row, shifted).get('mean') or {}


def _around(part: str, centre: bool = False) -> Find:
    """Mean over a landscape, or at the weights as they were trained."""

    def find(row, shifted):
        found = (row.get('landscape') or {}).get(part)
        if found is None:
            return None
        middle = len(found) // 2
        return found[middle][middle] if centre else mean(map(mean, found))

    return find


def _both(
    name: str, title: str, digits: int, figure: str, scales: bool
) -> Iterator[tuple[str, Metric]]:
    """A figure on clean and on corrupted images, before and after scaling."""
    for prefix, images, find in (
        ('', 'clean', _clean),
        ('corrupted_', 'corrupted', _mean),
    ):
        yield prefix + name, Metric(f'{title}, {images}', digits, find(figure))
        if scales:
            yield (
                f'{prefix}{name}_scaled',
                Metric(
                    f'{title}, {images}, temperature scaled',
                    digits,
                    _scaled(find(figure)),
                ),
            )


METRICS: dict[str, Metric] = {
    'clean': Metric('clean accuracy (%)', 1, _clean('top1')),
    'corrupted': Metric('corrupted accuracy (%)', 1, _mean('top1')),
    **{
        f'severity_{i}': Metric(f'accuracy, severity {i} (%)', 1, _severity(i))
        for i in range(1, 6)
    },
    **{
        group: Metric(f'accuracy, {group} (%)', 1, _group(group))
        for group in C_GROUPS
    },
    **dict(_both('ece', 'ECE', 3, 'ece', scales=True)),
    **dict(_both('smooth_ece', 'smECE', 3, 'smooth_ece', scales=True)),
    **dict(_both('nll', 'NLL', 3, 'nll', scales=True)),
    **dict(_both('brier', 'Brier score', 3, 'brier', scales=True)),
    **dict(_both('aurc', 'AURC', 3, 'aurc', scales=False)),
    **dict(_both('excess_aurc', 'E-AURC', 3, 'excess_aurc', scales=False)),
    'temperature': Metric(
        'temperature',
        2,
        lambda row, _: (row.get('temperature') or {}).get('temperature'),
    ),
    'auroc': Metric('AUROC by energy (%)', 1, _auroc),
    'spread': Metric('spread over references', 3, _clean('spread')),
    'corrupted_spread': Metric(
        'spread over references, corrupted', 3, _mean('spread')
    ),
    'single_clean': Metric(
        'clean accuracy, one reference (%)', 1, _single(_figures_clean, mean)
    ),
    'single_clean_std': Metric(
        'its std over references', 2, _single(_figures_clean, pstdev)
    ),
    'single_corrupted': Metric(
        'corrupted accuracy, one reference (%)',
        1,
        _single(_figures_corrupted, mean),
    ),
    'single_corrupted_std': Metric(
        'its std over references, corrupted',
        2,
        _single(_figures_corrupted, pstdev),
    ),
    'stem_distance': Metric(
        'distance of stem halves', 2, lambda row, _: row.get('stem_distance')
    ),
    'seconds': Metric('seconds for 1000 images', 2, lambda row, _: None),
    'training_seconds': Metric('seconds of training', 0, lambda row, _: None),
    'centre': Metric(
        'accuracy at the weights (%)', 1, _around('normalised', centre=True)
    ),
    'around': Metric('around them, normalised (%)', 1, _around('normalised')),
    'around_raw': Metric('around them, raw (%)', 1, _around('raw')),
}
_ERRORS = {'ece', 'nll', 'brier', 'aurc', 'seconds'}
AUROC_OF = 'auroc_'  # and the name of a set, as `slug` has it

# what differs from run to run, and is kept with the times
OF_TIMES = ('seconds', 'training_seconds')


def find_metric(name: str) -> Metric:
    """A metric by its name: one of ``METRICS``, or the AUROC of one set.

    Example:
        >>> find_metric('auroc_photographs').title
        'AUROC by energy, photographs (%)'
    """
    if name in METRICS:
        return METRICS[name]
    of = name[len(AUROC_OF) :]
    return Metric(
        f'AUROC by energy, {of} (%)',
        1,
        lambda row, shifted: next(
            (
                _auroc_of(one)(row, shifted)
                for one in row.get('ood') or ()
                if slug(one) == of
            ),
            None,
        ),
    )


def lower_is_better(name: str) -> bool:
    """Whether a smaller value of a metric is the better one.

    Example:
        >>> lower_is_better('corrupted_ece_scaled'), lower_is_better('auroc')
        (True, False)
    """
    return bool(_ERRORS & set(name.split('_')))


def metric_names(ood: Iterable[str]) -> tuple[str, ...]:
    """All metrics that there are.

    Args:
        ood (Iterable[str]): Sets out of distribution, each of which has an
            AUROC of its own.

    Example:
        >>> metric_names(['Photographs'])[-1]
        'auroc_photographs'
    """
    return (*METRICS, *(AUROC_OF + slug(name) for name in ood))


def values_of(row: dict, shifted: str) -> dict[str, float]:
    """All metrics that a model has.

    Args:
        row (dict): One of the models of a suite's results.
        shifted (str): The shifted set that "corrupted" means.

    Example:
        >>> values_of(dict(clean=dict(figures=dict(top1=90.0, ece=0.1))), 'C')
        {'clean': 90.0, 'ece': 0.1}
    """
    found = {
        name: find_metric(name).find(row, shifted)
        for name in metric_names(row.get('ood') or ())
    }
    return {name: value for name, value in found.items() if value is not None}


def shown(value: float | None, metric: str) -> str:
    """A value to read, a dash for none.

    Example:
        >>> shown(88.349, 'clean'), shown(0.0312, 'ece')
        ('88.3', '0.031')
    """
    return '–' if value is None else f'{value:.{find_metric(metric).digits}f}'
