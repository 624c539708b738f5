"""The results of a suite, as one tidy table and as ``results.json`` has them.

The first half of this module computes what ``results.json`` holds: means over
kinds and severities, reliability bins, and anomaly detection by each score.
The second half reads it: :func:`results_table` is the only place that
flattens the nested content, and :class:`SuiteResults` selects from the table
for reports, the CSV file and figures.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from statistics import mean, stdev
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from ..datasets.shifts.kinds import SETTINGS
from ..engine.batch_figure import number_of_bins
from ..evaluation.confidence_intervals import auroc_interval
from ..evaluation.metrics.anomaly_rejection import anomaly_rejection
from .spec import GROUPS, SuiteSet

if TYPE_CHECKING:
    import pandas

Figures = dict[str, float | None]
ROC_POINTS = 101
# the metrics of an anomaly score on one set, or their mean over several sets
REJECTION = ('auroc', 'auroc_low', 'auroc_high', 'aupr', 'fpr95')
# the metric's name plus one of these names an end of its confidence interval
LOW, HIGH = '_low', '_high'


# What results.json holds


def mean_figures(figures: list[Figures]) -> Figures:
    """Average each metric; the mean is None if any of the values is None.

    The corrupted sets are made from the same images, so the sampling errors of
    their metrics are not independent. The interval between the mean of the
    lower ends and the mean of the upper ends is wide enough however strongly
    they depend on each other: the standard deviation of a mean is at most the
    mean of the standard deviations.

    Args:
        figures (List[Dict[str, float | None]]): Metrics by name, each dict
            with the same names.

    Example:
        >>> mean_figures(
        ...     [dict(top1=90.0, spread=None), dict(top1=80.0, spread=None)]
        ... )
        {'top1': 85.0, 'spread': None}
    """
    return {
        key: None
        if any(one[key] is None for one in figures)
        else mean(one[key] for one in figures)
        for key in figures[0]
    }


def summarise_shift(cells: dict[tuple, dict]) -> dict:
    """Summarise the measurements of one model on one shifted set.

    Args:
        cells (Dict[tuple, dict]): ``figures`` and ``reliability`` by kind
            and severity, or by (None, None) for a set that has neither.

    Returns:
        dict: ``mean`` over kinds, then severities; ``by_severity``,
        ``by_kind`` and ``cells``, each None for a set that has neither;
        ``num_images`` of each kind and severity; and ``reliability`` and
        ``ece_pooled`` over all images together.
    """
    figures = {key: cell['figures'] for key, cell in cells.items()}
    pooled = reliability([cell['reliability'] for cell in cells.values()])
    common = dict(
        num_images=next(iter(cells.values())).get('num_images'),
        reliability=pooled,
        ece_pooled=ece_of_bins(pooled),
    )
    if (None, None) in figures:
        return dict(
            mean=figures[None, None],
            by_severity=None,
            by_kind=None,
            cells=None,
            **common,
        )
    kinds = list(dict.fromkeys(kind for kind, _ in figures))
    severities = sorted({severity for _, severity in figures})
    by_severity = {
        str(one): mean_figures([figures[kind, one] for kind in kinds])
        for one in severities
    }
    return dict(
        mean=mean_figures(list(by_severity.values())),
        by_severity=by_severity,
        by_kind={
            kind: mean_figures([figures[kind, one] for one in severities])
            for kind in kinds
        },
        cells={
            kind: {str(one): figures[kind, one] for one in severities}
            for kind in kinds
        },
        **common,
    )


def reliability(parts: list[dict[str, list]]) -> dict:
    """Add up the confidence bins of several sets of images.

    Args:
        parts (List[Dict[str, list]]): The sums of each bin; see
            :class:`~mmanchor.suite.measure.Measured`.

    Returns:
        dict: The ``edges`` of the bins; and for each bin the ``count`` of
        images, their mean ``confidence`` and their ``accuracy`` in [0, 1],
        which are None if the bin is empty.
    """
    total = {
        key: np.sum([part[key] for part in parts], 0)
        for key in ('count', 'confidence', 'right')
    }
    count = total['count']

    def bin_means(key):
        return [
            float(value / number) if number else None
            for value, number in zip(total[key], count)
        ]

    return dict(
        edges=np.linspace(0, 1, len(count) + 1).tolist(),
        count=count.astype(int).tolist(),
        confidence=bin_means('confidence'),
        accuracy=bin_means('right'),
    )


def ece_of_bins(bins: dict) -> float | None:
    """The expected calibration error of all images of some bins, if any.

    Args:
        bins (dict): What :func:`reliability` returns.
    """
    if not sum(bins['count']):
        return None
    gaps = sum(
        count * abs(accuracy - confidence)
        for count, accuracy, confidence in zip(
            bins['count'], bins['accuracy'], bins['confidence']
        )
        if count
    )
    return gaps / sum(bins['count'])


def smooth_ece_over_sets(shifts: dict[str, dict]) -> dict | None:
    """Mean and sample standard deviation of smECE over shifted sets."""
    values = [one['mean']['smooth_ece'] for one in shifts.values()]
    if not values:
        return None
    return dict(
        mean=mean(values), std=stdev(values) if len(values) > 1 else None
    )


def compare_scores(inside: np.ndarray, outside: np.ndarray) -> dict:
    """Measure anomaly detection by one score, and compute its curves.

    Args:
        inside (np.ndarray): Scores of in-distribution images.
        outside (np.ndarray): Scores of out-of-distribution images.

    Shape:
        - inside: (N,)
        - outside: (M,)

    Returns:
        dict: ``auroc`` with the ends of its interval, ``auroc_low`` and
        ``auroc_high``; ``aupr``, ``fpr95``; ``roc``: 101 points of ``fpr``
        and ``tpr``; ``histogram``: ``edges`` and the counts ``in`` and
        ``out``. Scores beyond the 0.5th and 99.5th percentile are counted in
        the outermost bins.
    """
    both = np.concatenate([inside, outside])
    is_out = np.arange(len(both)) >= len(inside)
    metrics = anomaly_rejection(
        torch.from_numpy(both), torch.from_numpy(is_out)
    )
    low, high = auroc_interval(inside, outside) or (None, None)
    metrics.update(auroc_low=low, auroc_high=high)
    # from the largest threshold to the smallest, in equal steps of the
    # false positive rate
    thresholds = np.quantile(inside, np.linspace(1, 0, ROC_POINTS))
    fpr = [float((inside >= one).mean()) for one in thresholds]
    tpr = [float((outside >= one).mean()) for one in thresholds]
    # no in-distribution image may count at the first point
    above_all = float((outside > inside.max()).mean())
    low, high = np.quantile(both, [0.005, 0.995])
    edges = np.linspace(
        low,
        high if high > low else low + 1,
        number_of_bins(min(len(inside), len(outside))) + 1,
    )
    counts = [
        np.histogram(side.clip(edges[0], edges[-1]), edges)[0].tolist()
        for side in (inside, outside)
    ]
    return dict(
        **metrics,
        roc=dict(fpr=[0.0, *fpr[1:]], tpr=[above_all, *tpr[1:]]),
        histogram=dict(
            edges=edges.tolist(), **{'in': counts[0], 'out': counts[1]}
        ),
    )


def mean_by_group(
    measured: dict[str, dict], sets: Sequence[SuiteSet]
) -> dict[str, dict]:
    """Average anomaly detection over the near sets and over the far sets.

    Args:
        measured (Dict[str, dict]): ``scores`` of one model, by set.
        sets (Sequence[SuiteSet]): All sets that are on disk. A model that
            could not be measured on one set of a group has no mean for that
            group, because it would not compare with those of other models.

    Returns:
        dict: For each group that has sets: the names of its ``sets``, and
        ``scores``, the mean metrics of each score.
    """
    means = {}
    for group in GROUPS:
        names = [one.name for one in sets if one.group == group]
        scores = [(measured.get(one) or {}).get('scores', {}) for one in names]
        if names:
            means[group] = dict(
                sets=names,
                scores={
                    score: mean_figures(
                        [
                            {key: one[score][key] for key in REJECTION}
                            for one in scores
                        ]
                    )
                    for score in scores[0]
                    if all(score in one for one in scores)
                },
            )
    return means


# The tidy table

COLUMNS = (
    'model',
    'temperature',
    'group',
    'set',
    'kind',
    'severity',
    'score',
    'metric',
    'value',
    'images',
)
# identifies one value
KEYS = ('model', 'set', 'kind', 'severity', 'score', 'metric')


class Point(NamedTuple):
    """Test images that a metric is computed on, as the table names them.

    Args:
        set (str): The name of a test set, ``'near (mean)'`` or
            ``'far (mean)'``. Empty for metrics over several sets.
        kind (str): A kind of corruption. Empty for all kinds.
        severity (str): ``'1'`` to ``'5'``, ``'0'`` for clean images. Empty
            for all severities.
        score (str): The anomaly score that the metric is of, if any.
    """

    set: str
    kind: str = ''
    severity: str = ''
    score: str = ''


ALL_SETS = Point('')


def group_point(group: str, score: str = '') -> Point:
    """The mean over the ``'near'`` or over the ``'far'`` sets."""
    return Point(f'{group} (mean)', score=score)


def import_pandas():
    """Import pandas, which reports select their tables with."""
    try:
        import pandas
    except ImportError as error:
        raise ImportError(
            'Expected pandas, which reports select their tables with, but it '
            'is not installed. Install it with `pip install "mmanchor[eval]"`.'
        ) from error
    return pandas


def results_table(results: dict) -> pandas.DataFrame:
    """Flatten the results of a suite into one tidy table.

    Returns:
        pandas.DataFrame: One value in each row, in the order of
        ``results.json``, with these columns:

        - ``model``: the name that the report gives it
        - ``temperature``: what its logits were divided by; missing for vector
          scaling
        - ``group``: ``'clean'``, ``'shifts'``, ``'ood'``, ``'ood_means'`` or
          ``'all'``, for what is computed over several shifted sets
        - ``set``, ``kind``, ``severity``, ``score``: see :class:`Point`
        - ``metric``: ``'top1'`` and so on. A confidence interval takes two
          rows more, whose metrics end in ``_low`` and ``_high``.
        - ``value``: NaN where ``results.json`` has null
        - ``images``: the number of images of the set, or of each kind and
          severity of a corrupted set; missing if it was not recorded

    Raises:
        ImportError: pandas is not installed.

    Example:
        >>> figures = dict(top1=90.0, ece=0.1)
        >>> model = dict(name='a', clean=dict(name='Digits', figures=figures))
        >>> results_table(dict(models=[model]))[['model', 'metric', 'value']]
          model      metric  value
        0     a        top1   90.0
        1     a         ece    0.1
        2     a  num_images    NaN
    """
    pandas = import_pandas()
    rows = [
        (model['name'], model.get('logits_divided_by', 1.0), *row)
        for model in results['models']
        for row in _rows_of_model(model)
    ]
    table = pandas.DataFrame(rows, columns=list(COLUMNS))
    return table.astype(
        dict(temperature='float64', value='float64', images='Int64')
    )


def _rows_of_model(model: dict) -> Iterator[tuple]:
    """Yield the columns of the table after the first two."""

    def rows(group, point, figures, images=None):
        for metric, value in (figures or {}).items():
            yield group, *point, metric, value, images

    def part(content, key) -> dict:
        return (content or {}).get(key) or {}

    content = model.get('clean') or {}
    clean = Point(content.get('name') or '', severity='0')
    images = content.get('num_images')
    if content:
        figures = dict(part(content, 'figures'), num_images=images)
        yield from rows('clean', clean, figures, images)
    for name, content in part(model, 'shifts').items():
        content = content or {}
        images = content.get('num_images')
        points = {Point(name): content.get('mean')}
        for severity, figures in part(content, 'by_severity').items():
            points[Point(name, severity=severity)] = figures
        for kind, figures in part(content, 'by_kind').items():
            points[Point(name, kind)] = figures
        for kind, by_severity in part(content, 'cells').items():
            for severity, figures in (by_severity or {}).items():
                points[Point(name, kind, severity)] = figures
        for point, figures in points.items():
            yield from rows('shifts', point, figures, images)
        whole = dict(ece_pooled=content.get('ece_pooled'), num_images=images)
        yield from rows('shifts', Point(name), whole, images)
    over_sets = {
        f'smooth_ece_{key}': value
        for key, value in part(model, 'smooth_ece').items()
    }
    if model.get('mce') is not None:
        over_sets['relative_mce'] = model['mce']
    yield from rows('all', ALL_SETS, over_sets)
    for name, content in part(model, 'ood').items():
        images = (content or {}).get('num_images')
        yield 'ood', *Point(name), 'num_images', images, images
        for score, metrics in part(content, 'scores').items():
            figures = {metric: metrics.get(metric) for metric in REJECTION}
            yield from rows('ood', Point(name, score=score), figures, images)
    for group, content in part(model, 'ood_means').items():
        for score, metrics in content['scores'].items():
            figures = {metric: metrics.get(metric) for metric in REJECTION}
            yield from rows('ood_means', group_point(group, score), figures)
    fitted = {}
    if 'temperature' in part(model, 'temperature'):
        fitted['temperature'] = model['temperature']['temperature']
    for kind in ('temperature', 'vector_scaling'):
        for when in ('before', 'after'):
            for metric, value in part(model.get(kind), when).items():
                fitted[f'{metric}_{when}_{kind}'] = value
    yield from rows('clean', clean, fitted)


class SuiteResults:
    """The results of a suite, with the selections that reports show.

    Args:
        content (dict): The content of ``results.json``. Parts that an older
            version did not write may be missing.

    Attributes:
        table (pandas.DataFrame): See :func:`results_table`.

    Example:
        >>> figures = dict(top1=90.0, top1_low=88.0, top1_high=92.0)
        >>> model = dict(name='a', clean=dict(name='D', figures=figures))
        >>> results = SuiteResults(dict(models=[model]))
        >>> results.value('a', results.clean, 'top1')
        90.0
        >>> results.interval('a', results.clean, 'top1')
        (88.0, 92.0)
    """

    def __init__(self, content: dict):
        self.content = content
        self.table = results_table(content)
        self.models = [model['name'] for model in content['models']]
        known = self.table.dropna(subset='value')
        self._values = dict(
            zip(zip(*(known[key] for key in KEYS)), known['value'])
        )

    def value(self, model: str, point: Point, metric: str) -> float | None:
        """The value of a metric, or None if it was not measured."""
        return self._values.get((model, *point, metric))

    def interval(
        self, model: str, point: Point, metric: str
    ) -> tuple[float, float] | None:
        """The ends of a metric's confidence interval, or None."""
        low = self.value(model, point, metric + LOW)
        high = self.value(model, point, metric + HIGH)
        return None if low is None or high is None else (low, high)

    def _distinct(self, column: str, **where: str) -> list[str]:
        """Return the distinct values of a column in order, but no empty ones.

        Args:
            where (Dict[str, str]): The values that rows have to have, by
                column.
        """
        rows = self.table
        for key, value in where.items():
            rows = rows[rows[key] == value]
        return [one for one in rows[column].unique() if one]

    def sets(self, group: str) -> list[str]:
        """The names of the sets of a group that any model was measured on.

        Groups are ``'clean'``, ``'shifts'`` and ``'ood'``.
        """
        return self._distinct('set', group=group)

    @cached_property
    def clean(self) -> Point:
        """The clean test set."""
        return Point(next(iter(self.sets('clean')), ''), severity='0')

    @property
    def points(self) -> list[Point]:
        """The clean set, and each shifted set as a whole."""
        return [self.clean, *map(Point, self.sets('shifts'))]

    def kinds(self, name: str) -> list[str]:
        """The kinds of corruption of a set, in order; empty if it has none."""
        return self._distinct('kind', group='shifts', set=name)

    def severities(self, name: str) -> list[str]:
        """The severities of a set in ascending order; empty if it has none."""
        found = self._distinct('severity', group='shifts', set=name)
        return sorted(found, key=float)

    @cached_property
    def corrupted_sets(self) -> list[str]:
        """The shifted sets that have severities."""
        return [one for one in self.sets('shifts') if self.severities(one)]

    def corruption_words(self, name: str) -> str:
        """How many kinds and severities a set has, and its settings."""
        return corruption_words(
            len(self.kinds(name)),
            len(self.severities(name)),
            self.content.get('corruptions', {}).get(name),
        )

    def scores(self, model: str, name: str) -> list[str]:
        """The anomaly scores of a model on a set; the first is its default."""
        return self._distinct('score', model=model, set=name)

    @property
    def groups(self) -> dict[str, list[str]]:
        """The out-of-distribution sets of each group that has any."""
        return {
            group: means['sets']
            for model in self.content['models']
            for group, means in (model.get('ood_means') or {}).items()
        }

    def num_images(self, name: str) -> int | None:
        """The number of images of a set, of each kind and severity."""
        rows = self.table[self.table['set'] == name]
        known = rows['images'].dropna()
        return int(known.iloc[0]) if len(known) else None

    def bins(self, model: str, point: Point) -> dict | None:
        """The reliability bins of a model on a whole set, or None."""
        row = self._model(model)
        if point != self.clean:
            row = (row.get('shifts') or {}).get(point.set) or {}
        return row.get('reliability')

    def curves(self, model: str, point: Point) -> dict:
        """The ``roc`` and the ``histogram`` of an anomaly score on a set."""
        return self._model(model)['ood'][point.set]['scores'][point.score]

    def _model(self, name: str) -> dict:
        return self.content['models'][self.models.index(name)]

    def to_csv(self) -> str:
        """The table in the columns of ``results.csv``.

        They are ``model, set, kind, severity, figure, value``. An empty kind
        or severity stands for all of them, and clean images have severity 0.
        The figure of an anomaly score starts with the name of the score.
        Values that are null in ``results.json`` have no line.
        """
        rows = self.table.dropna(subset='value')
        metric, score = rows['metric'], rows['score']
        values, images = (
            rows[column].astype(object) for column in ('value', 'images')
        )
        lines = rows[['model', 'set', 'kind', 'severity']].assign(
            figure=metric.where(score == '', score + '_' + metric),
            value=values.where(metric != 'num_images', images),
        )
        return lines.to_csv(index=False, lineterminator='\n')


def corruption_words(kinds: int, severities: int, about: dict | None) -> str:
    """Describe corrupted images for a caption.

    Args:
        about (dict, optional): See
            :func:`~mmanchor.suite.corrupted_sets.describe_corruptions`;
            None where settings don't apply.

    Example:
        >>> corruption_words(19, 5, dict(settings='cifar-c', images=2000))
        "19 kinds × 5 severities, CIFAR-C's settings, of 2,000 images"
        >>> corruption_words(1, 1, dict(settings=None, images=None))
        '1 kind × 1 severity, settings not recorded'
    """
    words = (
        f'{kinds} kind{"s" * (kinds > 1)} × {severities} '
        f'severit{"ies" if severities > 1 else "y"}'
    )
    if about is None:
        return words
    words += ', ' + SETTINGS.get(about['settings'], 'settings not recorded')
    if about['images'] is not None:
        words += f', of {about["images"]:,} images'
    return words
