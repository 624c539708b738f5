"""Calibration, likelihood and selective classification by set."""

from .reading import (
    clean,
    corrupted_sets,
    figure_of,
    names_of,
    shift,
    shown,
)
from .table import Table, number

FIGURES = {
    'ece': ('Expected calibration error', 'ECE; smaller is better.'),
    'smooth_ece': (
        'Smoothed calibration error',
        'smECE, without bins; smaller is better.',
    ),
    'nll': ('Negative log-likelihood', 'In nats; smaller is better.'),
    'brier': ('Brier score', 'In [0, 2]; smaller is better.'),
    'aurc': ('Area under the risk-coverage curve', 'AURC; smaller is better.'),
}


# those that differ if the images of all kinds and severities are put together
NOT_MEANS = ('ece', 'smooth_ece', 'aurc')


def calibration_tables(results: dict, intervals: bool = False) -> list[Table]:
    """One for each figure, with clean and shifted sets in columns.

    Args:
        results (dict): See ``results.json``.
        intervals (bool): Whether to show confidence intervals. Defaults to
            False.
    """
    return [_table(results, figure, intervals) for figure in FIGURES]


def _table(results: dict, figure: str, intervals: bool) -> Table:
    models, names = results['models'], names_of(results, 'shifts')
    corrupted = corrupted_sets(results)
    pools = figure == 'ece' and any(
        shift(model, name).get('ece_pooled') is not None
        for model in models
        for name in corrupted
    )
    summed = figure == 'smooth_ece' and any(
        model.get('smooth_ece') for model in models
    )
    rows = []
    for model in models:
        row = [model['name'], shown(clean(model), figure, 3, intervals)]
        for name in names:
            found = shift(model, name)
            row.append(shown(found.get('mean'), figure, 3, intervals))
            if pools and name in corrupted:
                row.append(number(found.get('ece_pooled'), 3))
        rows.append(row + [_mean_and_std(model.get('smooth_ece'))] * summed)
    title, caption = FIGURES[figure]
    header = ['model', 'clean']
    for name in names:
        told_apart = name in corrupted and figure in NOT_MEANS
        header.append(f'{name} (mean over sets)' if told_apart else name)
        if pools and name in corrupted:
            header.append(f'{name} (pooled)')
    if corrupted and figure in NOT_MEANS:
        caption += (
            ' Mean over sets: of the figures of each kind and severity, '
            'first over kinds, then over severities.'
        )
    if pools:
        caption += (
            ' Pooled: the error of the images of all kinds and severities '
            'together.'
        )
    if summed:
        header.append('mean ± std')
        caption += ' Last column: over shifted sets.'
    return Table(title, caption, header, rows)


def _mean_and_std(found) -> str:
    if not found or found['mean'] is None:
        return '–'
    text = number(found['mean'], 3)
    return text if found['std'] is None else f'{text} ± {found["std"]:.3f}'


def temperature_table(results: dict) -> Table:
    """Calibration before and after a temperature is fitted.

    Args:
        results (dict): See ``results.json``.
    """
    shown = {'ECE': 'ece', 'smECE': 'smooth_ece', 'NLL': 'nll'}
    rows = []
    for model in results['models']:
        found = model.get('temperature')
        if not found:
            continue
        row = [model['name'], number(found['temperature'], 2)]
        row += [
            number(figure_of(found[when], figure), 3)
            for figure in shown.values()
            for when in ('before', 'after')
        ]
        rows.append(row)
    header = ['model', 'T']
    header += [
        f'{name} {when}' for name in shown for when in ('before', 'after')
    ]
    return Table(
        'Temperature scaling',
        'On clean images that T was not fitted to.',
        header,
        rows,
    )
