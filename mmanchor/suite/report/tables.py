"""The tables of a suite's report, each a selection of the result table."""

from collections.abc import Sequence

from rich import table as rich_table

from ..results import ALL_SETS, Point, SuiteResults, group_point
from .table import Table, number, to_rich, with_difference, with_interval

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
    """Make every table that has at least one value.

    Args:
        results (SuiteResults): The results.
        intervals (bool): Whether to show confidence intervals, which make
            tables too wide for a terminal. Defaults to False.
    """
    tables = [
        accuracy_table(results, intervals),
        *severity_tables(results, intervals),
        *calibration_tables(results, intervals),
        temperature_table(results),
        *ood_tables(results, intervals),
        *reference_tables(results, intervals),
    ]
    return [table for table in tables if not table.is_empty()]


def terminal_tables(
    results: SuiteResults, width: int = 80
) -> list[rich_table.Table]:
    """Make the tables to print; those that are too wide are split.

    Args:
        results (SuiteResults): The results.
        width (int): The width of the terminal. Defaults to 80.
    """
    return [
        part for table in all_tables(results) for part in to_rich(table, width)
    ]


def accuracy_table(results: SuiteResults, intervals: bool = False) -> Table:
    """Accuracy by set, with differences from the first model.

    Args:
        results (SuiteResults): The results.
        intervals (bool): Whether to show confidence intervals. Defaults to
            False.
    """
    models, points = results.models, results.points
    relative = [
        number(results.value(model, ALL_SETS, 'relative_mce'))
        for model in models
    ]
    has_mce = set(relative) != {'–'}
    rows = []
    for i, (model, mce) in enumerate(zip(models, relative)):
        row = [model]
        for point in points:
            row.append(
                with_difference(
                    results.value(model, point, 'top1'),
                    results.value(models[0], point, 'top1') if i else None,
                    results.interval(model, point, 'top1')
                    if intervals
                    else None,
                )
            )
        rows.append(row + [mce] * has_mce)
    captions = ['Corrupted sets: mean over kinds and severities.']
    captions += [
        f'{name}: {results.corruption_words(name)}.'
        for name in results.corrupted_sets
    ]
    if len(models) > 1:
        captions.append(
            f'In parentheses: difference from {models[0]}, in points.'
        )
    if has_mce:
        captions.append(
            'mCE: mean corruption error relative to AlexNet, in %.'
        )
    captions += _numbers_of_images(
        results, {'clean': results.clean.set}, results.sets('shifts')
    )
    return Table(
        'Top-1 accuracy, %',
        ' '.join(captions),
        ['model', 'clean', *results.sets('shifts')] + ['mCE'] * has_mce,
        rows,
    )


def severity_tables(
    results: SuiteResults, intervals: bool = False
) -> list[Table]:
    """Accuracy by severity: one table for each corrupted set."""
    tables = []
    for name in results.corrupted_sets:
        severities = results.severities(name)
        points = [
            results.clean,
            *(Point(name, severity=one) for one in severities),
            Point(name),
        ]
        tables.append(
            Table(
                f'Top-1 accuracy on {name} by severity, %',
                f'{results.corruption_words(name)}.',
                ['model', 'clean', *severities, 'mean'],
                _row_of_each_model(results, points, 'top1', 1, intervals),
            )
        )
    return tables


def kind_tables(results: SuiteResults, intervals: bool = False) -> list[Table]:
    """Accuracy by kind of corruption: one table for each corrupted set."""
    tables = []
    for name in results.sets('shifts'):
        kinds = results.kinds(name)
        if not kinds:
            continue
        columns = _row_of_each_model(
            results,
            [Point(name, kind) for kind in kinds],
            'top1',
            1,
            intervals,
        )
        tables.append(
            Table(
                f'Top-1 accuracy on {name} by kind, %',
                f'Mean over severities; {results.corruption_words(name)}.',
                ['kind', *results.models],
                [
                    [kind.replace('_', ' '), *row]
                    for kind, *row in zip(
                        kinds, *(values for _, *values in columns)
                    )
                ],
            )
        )
    return tables


def reference_tables(
    results: SuiteResults, intervals: bool = False
) -> list[Table]:
    """Spread over references, and the number of references used."""

    def table(title: str, caption: str, metric: str, digits: int) -> Table:
        return Table(
            title,
            caption,
            ['model', 'clean', *results.sets('shifts')],
            _row_of_each_model(
                results, results.points, metric, digits, intervals
            ),
        )

    tables = [
        table(
            'Spread of logits over references',
            'Standard deviation, mean over classes and images.',
            'spread',
            3,
        )
    ]
    # a fixed number of references is in the model's name already
    if any(
        results.value(model['name'], point, 'mean_used')
        not in (None, model.get('num_references'))
        for model in results.content['models']
        for point in results.points
    ):
        tables.append(
            table('References used, mean over images', '', 'mean_used', 1)
        )
    return tables


def calibration_tables(
    results: SuiteResults, intervals: bool = False
) -> list[Table]:
    """Calibration, likelihood and selective classification by set.

    Args:
        results (SuiteResults): The results.
        intervals (bool): Whether to show confidence intervals. Defaults to
            False.

    Returns:
        List[Table]: One table for each metric.
    """
    return [
        _calibration_table(results, metric, intervals)
        for metric in CALIBRATION
    ]


def _calibration_table(
    results: SuiteResults, metric: str, intervals: bool
) -> Table:
    models, corrupted = results.models, results.corrupted_sets
    has_pooled = metric == 'ece' and any(
        results.value(model, Point(name), 'ece_pooled') is not None
        for model in models
        for name in corrupted
    )
    over_sets = [
        _mean_and_std(results, model)
        for model in models
        if metric == 'smooth_ece'
    ]
    has_over_sets = bool(set(over_sets) - {'–'})
    header = ['model', 'clean']
    columns = [(results.clean, metric)]
    for name in results.sets('shifts'):
        is_mean_of_sets = name in corrupted and metric in NOT_MEANS
        header.append(f'{name} (mean over sets)' if is_mean_of_sets else name)
        columns.append((Point(name), metric))
        if has_pooled and name in corrupted:
            header.append(f'{name} (pooled)')
            columns.append((Point(name), 'ece_pooled'))
    rows = [
        [
            model,
            *(
                _text(results, model, point, one, 3, intervals)
                for point, one in columns
            ),
        ]
        for model in models
    ]
    title, caption = CALIBRATION[metric]
    if corrupted and metric in NOT_MEANS:
        caption += (
            ' Mean over sets: of the figures of each kind and severity, '
            'first over kinds, then over severities.'
        )
    if has_pooled:
        caption += (
            ' Pooled: the error of the images of all kinds and severities '
            'together.'
        )
    if has_over_sets:
        header.append('mean ± std')
        rows = [[*row, text] for row, text in zip(rows, over_sets)]
        caption += ' Last column: over shifted sets.'
    return Table(title, caption, header, rows)


def _mean_and_std(results: SuiteResults, model: str) -> str:
    mean, std = (
        results.value(model, ALL_SETS, f'smooth_ece_{part}')
        for part in ('mean', 'std')
    )
    text = number(mean, 3)
    return text if mean is None or std is None else f'{text} ± {std:.3f}'


def temperature_table(results: SuiteResults) -> Table:
    """Calibration before and after temperature scaling.

    Args:
        results (SuiteResults): The results.
    """
    columns = {
        f'{name} {when}': f'{metric}_{when}_temperature'
        for name, metric in (
            ('ECE', 'ece'),
            ('smECE', 'smooth_ece'),
            ('NLL', 'nll'),
        )
        for when in ('before', 'after')
    }
    rows = []
    for model in results.models:
        temperature = results.value(model, results.clean, 'temperature')
        if temperature is not None:
            rows.append(
                [
                    model,
                    number(temperature, 2),
                    *(
                        number(results.value(model, results.clean, metric), 3)
                        for metric in columns.values()
                    ),
                ]
            )
    return Table(
        'Temperature scaling',
        'On clean images that T was not fitted to.',
        ['model', 'T', *columns],
        rows,
    )


def ood_tables(results: SuiteResults, intervals: bool = False) -> list[Table]:
    """Anomaly detection: the default score, then AUROC of every score.

    Args:
        results (SuiteResults): The results.
        intervals (bool): Whether to show confidence intervals. Defaults to
            False.

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
    notes += _numbers_of_images(results, {}, names)
    models = [
        model['name']
        for model in results.content['models']
        if model.get('ood')
    ]
    tables = []
    for metric, title in REJECTION_TITLES.items():
        best = 'smaller' if metric == 'fpr95' else 'larger'
        rows = []
        for model in models:
            defaults = {
                name: next(iter(results.scores(model, name)), '')
                for name in names
            }
            used = '/'.join(dict.fromkeys(filter(None, defaults.values())))
            points = [Point(name, score=one) for name, one in defaults.items()]
            # Scores that differ from set to set have no mean: `used` is then
            # the name of no score.
            points += [group_point(group, used) for group in groups]
            row = _percentages(results, model, points, metric, intervals)
            rows.append([model, used or '–', *row])
        caption = f"Each model's default score; {best} is better."
        tables.append(
            Table(
                f'Out of distribution: {title}, %',
                ' '.join([caption, *notes]),
                header,
                rows,
                2,
            )
        )
    every = [
        [
            model,
            score,
            *_percentages(
                results,
                model,
                [
                    *(Point(name, score=score) for name in names),
                    *(group_point(group, score) for group in groups),
                ],
                'auroc',
                intervals,
            ),
        ]
        for model in models
        for score in dict.fromkeys(
            one for name in names for one in results.scores(model, name)
        )
    ]
    if len(every) > len(models):
        tables.append(
            Table(
                'Out of distribution: AUROC of every score, %',
                'Larger is better.',
                header,
                every,
                2,
            )
        )
    return tables


def checkpoint_table(results: SuiteResults) -> Table | None:
    """The config, the checkpoint and its SHA-256 of each model, if known."""
    rows = [
        [
            str(model['name']),
            *(
                str(model.get(key))
                for key in ('config', 'checkpoint', 'sha256')
            ),
        ]
        for model in results.content['models']
        if model.get('sha256')
    ]
    header = ['model', 'config', 'checkpoint', 'SHA-256']
    return Table('Checkpoints', '', header, rows, 4) if rows else None


def _text(
    results: SuiteResults,
    model: str,
    point: Point,
    metric: str,
    digits: int,
    intervals: bool,
) -> str:
    """A value as tables show it, with its interval where that is wanted."""
    return with_interval(
        results.value(model, point, metric),
        results.interval(model, point, metric) if intervals else None,
        digits,
    )


def _row_of_each_model(
    results: SuiteResults,
    points: Sequence[Point],
    metric: str,
    digits: int,
    intervals: bool,
) -> list[list[str]]:
    return [
        [
            model,
            *(
                _text(results, model, point, metric, digits, intervals)
                for point in points
            ),
        ]
        for model in results.models
    ]


def _percentages(
    results: SuiteResults,
    model: str,
    points: Sequence[Point],
    metric: str,
    intervals: bool,
) -> list[str]:
    """Values in [0, 1] as percentages."""
    row = []
    for point in points:
        value = results.value(model, point, metric)
        ends = results.interval(model, point, metric) if intervals else None
        row.append(
            with_interval(
                None if value is None else 100 * value,
                ends and (100 * ends[0], 100 * ends[1]),
            )
        )
    return row


def _numbers_of_images(
    results: SuiteResults, clean: dict[str, str], names: Sequence[str]
) -> list[str]:
    """A sentence for captions, or nothing if no number is known.

    Args:
        results (SuiteResults): The results.
        clean (Dict[str, str]): The name of the clean set by its title.
        names (Sequence[str]): The other sets.
    """
    corrupted = results.corrupted_sets
    words = []
    for title, name in (clean | {name: name for name in names}).items():
        count = results.num_images(name)
        if count is not None:
            each = ' of each kind and severity' * (title in corrupted)
            words.append(f'{title} {count:,}{each}')
    return [f'Images: {"; ".join(words)}.'] if words else []
