"""The tables of a suite's report, each a selection of the result table."""

from collections.abc import Sequence

from rich import table as rich_table

from ..results import ALL_SETS, Point, SuiteResults, group_point
from .decision_tables import decision_tables, scaling_table
from .table import Table, metric_text, number, signed, to_rich

CALIBRATION = {
    'ece': ('Expected calibration error', 'ECE; smaller is better.'),
    'smooth_ece': (
        'Smoothed calibration error',
        'smECE, without bins; smaller is better.',
    ),
    'nll': ('Negative log-likelihood', 'In nats; smaller is better.'),
    'brier': ('Brier score', 'In [0, 2]; smaller is better.'),
    'aurc': ('Area under the risk-coverage curve', 'AURC; smaller is better.'),
}
# The mean of these over kinds and severities is not their value for all
# images together.
NOT_MEANS = ('ece', 'smooth_ece', 'aurc')
REJECTION_TITLES = {'auroc': 'AUROC', 'fpr95': 'FPR95', 'aupr': 'AUPR'}


def all_tables(results: SuiteResults, intervals: bool = False) -> list[Table]:
    """Make every table that has at least one value."""
    tables = [
        accuracy_table(results, intervals),
        *severity_tables(results, intervals),
        *calibration_tables(results, intervals),
        scaling_table(results, 'temperature'),
        *decision_tables(results, intervals),
        *ood_tables(results, intervals),
        *reference_tables(results, intervals),
    ]
    return [table for table in tables if not table.is_empty()]


def terminal_tables(
    results: SuiteResults, width: int = 80
) -> list[rich_table.Table]:
    """Make the tables to print; those that are too wide are split."""
    return [
        part for table in all_tables(results) for part in to_rich(table, width)
    ]


def accuracy_table(results: SuiteResults, intervals: bool = False) -> Table:
    """Accuracy by set, with differences from the first model."""
    models, shifts = results.models, results.sets('shifts')
    mce = [
        number(results.value(model, ALL_SETS, 'relative_mce'))
        for model in models
    ]
    rows = _rows(results, results.points, 'top1', 1, intervals)
    for row in rows[1:]:
        for column, point in enumerate(results.points, 1):
            value = results.value(row[0], point, 'top1')
            base = results.value(models[0], point, 'top1')
            if value is not None and base is not None:
                row[column] += f' ({signed(value - base)})'
    header = ['model', 'clean', *shifts]
    captions = ['Corrupted sets: mean over kinds and severities.']
    captions += [
        f'{name}: {results.corruption_words(name)}.'
        for name in results.corrupted_sets
    ]
    if len(models) > 1:
        captions.append(
            f'In parentheses: difference from {models[0]}, in points.'
        )
    if set(mce) != {'–'}:
        header.append('mCE')
        rows = [[*row, text] for row, text in zip(rows, mce)]
        captions.append(
            'mCE: mean corruption error relative to AlexNet, in %.'
        )
    captions += _numbers_of_images(
        results, {'clean': results.clean.set, **dict(zip(shifts, shifts))}
    )
    return Table('Top-1 accuracy, %', ' '.join(captions), header, rows)


def severity_tables(
    results: SuiteResults, intervals: bool = False
) -> list[Table]:
    """Accuracy by severity: one table for each corrupted set."""
    tables = []
    for name in results.corrupted_sets:
        severities = results.severities(name)
        by_severity = [Point(name, severity=one) for one in severities]
        points = [results.clean, *by_severity, Point(name)]
        tables.append(
            Table(
                f'Top-1 accuracy on {name} by severity, %',
                f'{results.corruption_words(name)}.',
                ['model', 'clean', *severities, 'mean'],
                _rows(results, points, 'top1', 1, intervals),
            )
        )
    return tables


def kind_tables(results: SuiteResults, intervals: bool = False) -> list[Table]:
    """Accuracy by kind of corruption: one table for each corrupted set."""
    tables = []
    for name in results.sets('shifts'):
        kinds = results.kinds(name)
        if kinds:
            points = [Point(name, kind) for kind in kinds]
            names = ['kind', *(kind.replace('_', ' ') for kind in kinds)]
            by_model = _rows(results, points, 'top1', 1, intervals)
            header, *rows = map(list, zip(names, *by_model))
            words = results.corruption_words(name)
            tables.append(
                Table(
                    f'Top-1 accuracy on {name} by kind, %',
                    f'Mean over severities; {words}.',
                    header,
                    rows,
                )
            )
    return tables


def reference_tables(
    results: SuiteResults, intervals: bool = False
) -> list[Table]:
    """Spread over references, and the number of references used."""
    header = ['model', 'clean', *results.sets('shifts')]
    tables = [
        Table(
            'Spread of logits over references',
            'Standard deviation, mean over classes and images.',
            header,
            _rows(results, results.points, 'spread', 3, intervals),
        )
    ]
    # a fixed number of references is in the model's name already
    if any(
        results.value(model['name'], point, 'mean_used')
        not in (None, model.get('num_references'))
        for model in results.content['models']
        for point in results.points
    ):
        rows = _rows(results, results.points, 'mean_used', 1, intervals)
        title = 'References used, mean over images'
        tables.append(Table(title, '', header, rows))
    return tables


def calibration_tables(
    results: SuiteResults, intervals: bool = False
) -> list[Table]:
    """Calibration, likelihood and selective classification by set."""
    return [
        _calibration_table(results, metric, intervals)
        for metric in CALIBRATION
    ]


def _calibration_table(
    results: SuiteResults, metric: str, intervals: bool
) -> Table:
    title, caption = CALIBRATION[metric]
    corrupted = results.corrupted_sets if metric in NOT_MEANS else []
    has_pooled = metric == 'ece' and any(
        results.value(model, Point(name), 'ece_pooled') is not None
        for model in results.models
        for name in corrupted
    )
    columns = {'clean': (results.clean, metric)}
    for name in results.sets('shifts'):
        of_set = f'{name} (mean over sets)' if name in corrupted else name
        columns[of_set] = (Point(name), metric)
        if has_pooled and name in corrupted:
            columns[f'{name} (pooled)'] = (Point(name), 'ece_pooled')
    header = ['model', *columns]
    rows = [
        [
            model,
            *(
                metric_text(results, model, *column, 3, intervals)
                for column in columns.values()
            ),
        ]
        for model in results.models
    ]
    if corrupted:
        caption += (
            ' Mean over sets: of the figures of each kind and severity, '
            'first over kinds, then over severities.'
        )
    if has_pooled:
        caption += (
            ' Pooled: the error of the images of all kinds and severities '
            'together.'
        )
    over_sets = [_mean_and_std(results, model) for model in results.models]
    if metric == 'smooth_ece' and set(over_sets) != {'–'}:
        header.append('mean ± std')
        rows = [[*row, text] for row, text in zip(rows, over_sets)]
        caption += ' Last column: over shifted sets.'
    return Table(title, caption, header, rows)


def _mean_and_std(results: SuiteResults, model: str) -> str:
    mean = results.value(model, ALL_SETS, 'smooth_ece_mean')
    std = results.value(model, ALL_SETS, 'smooth_ece_std')
    text = number(mean, 3)
    return text if mean is None or std is None else f'{text} ± {std:.3f}'


def ood_tables(results: SuiteResults, intervals: bool = False) -> list[Table]:
    """Anomaly detection: the default score, then AUROC of every score.

    Returns:
        List[Table]: AUROC, FPR95 and AUPR of the default score; and AUROC of
        every score if any model has more than one.
    """
    names, groups = results.sets('ood'), results.groups
    if not names:
        return []
    header = ['model', 'score', *names, *(f'{one}, mean' for one in groups)]
    notes = [
        f'{group.capitalize()}: {", ".join(sets)}.'
        for group, sets in groups.items()
    ]
    notes += _numbers_of_images(results, dict(zip(names, names)))
    models = [
        model['name']
        for model in results.content['models']
        if model.get('ood')
    ]

    def row(model: str, metric: str, scores: dict[str, str]) -> list[str]:
        """A row of a table, with one score for each set."""
        used = '/'.join(dict.fromkeys(filter(None, scores.values())))
        points = [Point(name, score=one) for name, one in scores.items()]
        # If scores differ from set to set, `used` is the name of no score,
        # and there is no mean to show.
        points += [group_point(group, used) for group in groups]
        texts = [
            metric_text(results, model, point, metric, 1, intervals, 100)
            for point in points
        ]
        return [model, used or '–', *texts]

    def default_scores(model: str) -> dict[str, str]:
        return {
            one: next(iter(results.scores(model, one)), '') for one in names
        }

    tables = []
    for metric, title in REJECTION_TITLES.items():
        best = 'smaller' if metric == 'fpr95' else 'larger'
        caption = f"Each model's default score; {best} is better."
        tables.append(
            Table(
                f'Out of distribution: {title}, %',
                ' '.join([caption, *notes]),
                header,
                [row(one, metric, default_scores(one)) for one in models],
                2,
            )
        )
    every = [
        row(model, 'auroc', dict.fromkeys(names, score))
        for model in models
        for score in dict.fromkeys(
            one for name in names for one in results.scores(model, name)
        )
    ]
    if len(every) > len(models):
        title = 'Out of distribution: AUROC of every score, %'
        tables.append(Table(title, 'Larger is better.', header, every, 2))
    return tables


def checkpoint_table(results: SuiteResults) -> Table | None:
    """The config, the checkpoint and its SHA-256 of each model, if known."""
    keys = ('name', 'config', 'checkpoint', 'sha256')
    rows = [
        [str(model.get(key)) for key in keys]
        for model in results.content['models']
        if model.get('sha256')
    ]
    header = ['model', 'config', 'checkpoint', 'SHA-256']
    return Table('Checkpoints', '', header, rows, 4) if rows else None


def _rows(
    results: SuiteResults,
    points: Sequence[Point],
    metric: str,
    digits: int,
    intervals: bool,
) -> list[list[str]]:
    """For each model, its name and the values of a metric."""
    return [
        [
            model,
            *(
                metric_text(results, model, point, metric, digits, intervals)
                for point in points
            ),
        ]
        for model in results.models
    ]


def _numbers_of_images(
    results: SuiteResults, sets: dict[str, str]
) -> list[str]:
    """A sentence for captions, or nothing if no number is known.

    Args:
        sets (Dict[str, str]): The names of the sets, by the words that the
            caption uses for them.
    """
    words = []
    for title, name in sets.items():
        count = results.num_images(name)
        if count is not None:
            is_corrupted = title in results.corrupted_sets
            each = ' of each kind and severity' * is_corrupted
            words.append(f'{title} {count:,}{each}')
    return [f'Images: {"; ".join(words)}.'] if words else []
