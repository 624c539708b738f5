"""The metrics that a study compares, by short names.

Each is read from the record of a model that a cell holds.
"""

from collections.abc import Callable, Iterable, Iterator
from statistics import mean, pstdev
from typing import Any, NamedTuple

from ..datasets.shifts.kinds import C_GROUPS
from ..suite.report.table import minus, number
from ..utils.names import slug

Read = Callable[[dict, str], float | None]
SHIFTED = '<shifted>'  # in a path: stands for the ground's shifted set
CLEAN_METRICS = ('clean', 'figures')
CORRUPTED_METRICS = ('shifts', SHIFTED, 'mean')
# metrics that `times` of a cell holds, because they differ from run to run
TIME_METRICS = ('seconds', 'training_seconds')
AUROC_OF = 'auroc_'  # followed by the slug of a set out of distribution
_LOWER_IS_BETTER = {'ece', 'nll', 'brier', 'aurc', 'seconds'}


class Metric(NamedTuple):
    """A number that describes a model.

    Attributes:
        title (str): The heading of its column or panel.
        digits (int): The number of decimals to show.
        read (Callable): Takes a model's record and the name of the shifted
            set, and returns the value; None if the record has none.
    """

    title: str
    digits: int
    read: Read


def _value(model: dict, shifted: str, path: Iterable[str]) -> Any:
    """The value at a path of keys; None if a key is missing or None."""
    value: Any = model
    for key in path:
        value = (value or {}).get(shifted if key == SHIFTED else key)
    return value


def _at(*path: str) -> Read:
    return lambda model, shifted: _value(model, shifted, path)


def _group(group: str) -> Read:
    """Mean accuracy over the kinds of a group, each a mean over severities."""

    def read(model, shifted):
        by_kind = _value(model, shifted, ('shifts', SHIFTED, 'by_kind')) or {}
        kinds = [kind for kind in C_GROUPS[group] if kind in by_kind]
        return mean(by_kind[kind]['top1'] for kind in kinds) if kinds else None

    return read


def _auroc_of(model: dict, name: str) -> float | None:
    """AUROC by energy on one set out of distribution, in %."""
    auroc = _value(model, '', ('ood', name, 'scores', 'energy', 'auroc'))
    return None if auroc is None else 100 * auroc


def _mean_auroc(model: dict, shifted: str) -> float | None:
    values = [_auroc_of(model, name) for name in model.get('ood') or ()]
    values = [value for value in values if value is not None]
    return mean(values) if values else None


def _single_references(
    path: tuple[str, ...], summarise: Callable[[list], float]
) -> Read:
    """Summarise the accuracies with each of the K references alone."""

    def read(model, shifted):
        values = [
            value
            for name, value in (_value(model, shifted, path) or {}).items()
            if name.startswith('top1_reference_')
        ]
        return summarise(values) if values else None

    return read


def _landscape(directions: str, centre: bool = False) -> Read:
    """Mean accuracy over a landscape, or the accuracy at its centre."""

    def read(model, shifted):
        rows = _value(model, shifted, ('landscape', directions))
        if rows is None:
            return None
        middle = len(rows) // 2
        return rows[middle][middle] if centre else mean(map(mean, rows))

    return read


def _on_both(
    name: str, title: str, scaled: bool = True
) -> Iterator[tuple[str, Metric]]:
    """Yield a metric of clean images and one of corrupted images.

    If ``scaled``, both come after temperature scaling as well.
    """
    for prefix, images, path in (
        ('', 'clean', CLEAN_METRICS),
        ('corrupted_', 'corrupted', CORRUPTED_METRICS),
    ):
        yield prefix + name, Metric(f'{title}, {images}', 3, _at(*path, name))
        if scaled:
            yield (
                f'{prefix}{name}_scaled',
                Metric(
                    f'{title}, {images}, temperature scaled',
                    3,
                    _at('temperature_scaled', *path, name),
                ),
            )


METRICS: dict[str, Metric] = {
    'clean': Metric('clean accuracy (%)', 1, _at(*CLEAN_METRICS, 'top1')),
    'corrupted': Metric(
        'corrupted accuracy (%)', 1, _at(*CORRUPTED_METRICS, 'top1')
    ),
    **{
        f'severity_{i}': Metric(
            f'accuracy, severity {i} (%)',
            1,
            _at('shifts', SHIFTED, 'by_severity', str(i), 'top1'),
        )
        for i in range(1, 6)
    },
    **{
        group: Metric(f'accuracy, {group} (%)', 1, _group(group))
        for group in C_GROUPS
    },
    **dict(_on_both('ece', 'ECE')),
    **dict(_on_both('smooth_ece', 'smECE')),
    **dict(_on_both('nll', 'NLL')),
    **dict(_on_both('brier', 'Brier score')),
    **dict(_on_both('aurc', 'AURC', scaled=False)),
    **dict(_on_both('excess_aurc', 'E-AURC', scaled=False)),
    'temperature': Metric('temperature', 2, _at('temperature', 'temperature')),
    'auroc': Metric('AUROC by energy (%)', 1, _mean_auroc),
    'spread': Metric(
        'spread over references', 3, _at(*CLEAN_METRICS, 'spread')
    ),
    'corrupted_spread': Metric(
        'spread over references, corrupted',
        3,
        _at(*CORRUPTED_METRICS, 'spread'),
    ),
    'single_clean': Metric(
        'clean accuracy, one reference (%)',
        1,
        _single_references(CLEAN_METRICS, mean),
    ),
    'single_clean_std': Metric(
        'its std over references',
        2,
        _single_references(CLEAN_METRICS, pstdev),
    ),
    'single_corrupted': Metric(
        'corrupted accuracy, one reference (%)',
        1,
        _single_references(CORRUPTED_METRICS, mean),
    ),
    'single_corrupted_std': Metric(
        'its std over references, corrupted',
        2,
        _single_references(CORRUPTED_METRICS, pstdev),
    ),
    'stem_distance': Metric(
        'distance of stem halves', 2, _at('stem_distance')
    ),
    'seconds': Metric('seconds for 1000 images', 2, lambda *_: None),
    'training_seconds': Metric('seconds of training', 0, lambda *_: None),
    'centre': Metric(
        'accuracy at the weights (%)', 1, _landscape('normalised', centre=True)
    ),
    'around': Metric(
        'around them, normalised (%)', 1, _landscape('normalised')
    ),
    'around_raw': Metric('around them, raw (%)', 1, _landscape('raw')),
}


def find_metric(name: str) -> Metric:
    """Find a metric: one of ``METRICS``, or the AUROC of one set.

    Example:
        >>> find_metric('auroc_photographs').title
        'AUROC by energy, photographs (%)'
    """
    if name in METRICS:
        return METRICS[name]
    set_slug = name.removeprefix(AUROC_OF)

    def read(model, shifted):
        for one in model.get('ood') or ():
            if slug(one) == set_slug:
                return _auroc_of(model, one)
        return None

    return Metric(f'AUROC by energy, {set_slug} (%)', 1, read)


def lower_is_better(name: str) -> bool:
    """Whether a smaller value of a metric is the better one.

    Example:
        >>> lower_is_better('corrupted_ece_scaled'), lower_is_better('auroc')
        (True, False)
    """
    return bool(_LOWER_IS_BETTER & set(name.split('_')))


def metric_names(ood: Iterable[str]) -> tuple[str, ...]:
    """List the names of all metrics.

    Each of the sets out of distribution has an AUROC of its own.

    Example:
        >>> metric_names(['Photographs'])[-1]
        'auroc_photographs'
    """
    return (*METRICS, *(AUROC_OF + slug(name) for name in ood))


def values_of(model: dict, shifted: str) -> dict[str, float]:
    """Read all metrics that a model's record has.

    The metrics of the shifted set are called "corrupted".

    Example:
        >>> values_of(dict(clean=dict(figures=dict(top1=90.0, ece=0.1))), 'C')
        {'clean': 90.0, 'ece': 0.1}
    """
    values = {
        name: find_metric(name).read(model, shifted)
        for name in metric_names(model.get('ood') or ())
    }
    return {name: value for name, value in values.items() if value is not None}


def clip_interval(
    interval: tuple[float, float] | None, metric: str
) -> tuple[float, float] | None:
    """Clip the interval of a mean to the values that the metric can have.

    Example:
        >>> clip_interval((99.0, 100.2), 'clean')
        (99.0, 100.0)
        >>> clip_interval((-0.01, 0.03), 'ece')
        (0.0, 0.03)
    """
    if interval is None:
        return None
    low, high = interval
    if '(%)' in find_metric(metric).title:
        high = min(high, 100.0)
    return max(low, 0.0), high


def metric_words(name: str) -> str:
    """The title of a metric, to be used within a sentence.

    Example:
        >>> metric_words('corrupted_ece_scaled'), metric_words('clean')
        ('ECE (corrupted, temperature scaled)', 'clean accuracy')
    """
    title = find_metric(name).title.replace(' (%)', '')
    first, comma, rest = title.partition(', ')
    return f'{first} ({rest})' if comma else first


def format_value(value: float | None, metric: str) -> str:
    """Format a value with the decimals of its metric, None as a dash.

    Example:
        >>> format_value(88.349, 'clean'), format_value(None, 'ece')
        ('88.3', '–')
    """
    return number(value, find_metric(metric).digits)


def format_difference(difference: dict | None, metric: str) -> str:
    """Format a paired difference, its interval and whether that holds zero.

    Example:
        >>> found = dict(mean=1.24, interval=[-0.31, 2.79], n=3, level=True)
        >>> format_difference(found, 'clean')
        '+1.2 [−0.3, +2.8] level'
        >>> format_difference(dict(found, interval=None, level=None), 'clean')
        '+1.2'
    """
    if difference is None:
        return '–'

    def signed(value):
        text = minus(f'{value:+.{find_metric(metric).digits}f}')
        return text if text.strip('−0.') else text.replace('−', '+')

    text = signed(difference['mean'])
    if difference['interval'] is not None:
        low, high = map(signed, difference['interval'])
        text += f' [{low}, {high}]'
    return f'{text} level' if difference['level'] else text
