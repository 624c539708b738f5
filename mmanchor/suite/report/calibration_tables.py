"""Calibration, likelihood and selective classification by set."""

from .reading import clean, figure_of, names_of, shift
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


def calibration_tables(results: dict) -> list[Table]:
    """One for each figure, with clean and shifted sets in columns.

    Args:
        results (dict): See ``results.json``.
    """
    return [_table(results, figure) for figure in FIGURES]


def _table(results: dict, figure: str) -> Table:
    models, names = results['models'], names_of(results, 'shifts')
    summed = figure == 'smooth_ece' and any(
        model.get('smooth_ece') for model in models
    )
    rows = []
    for model in models:
        points = [clean(model)]
        points += [shift(model, name).get('mean') for name in names]
        row = [model['name']]
        row += [number(figure_of(point, figure), 3) for point in points]
        rows.append(row + [_mean_and_std(model.get('smooth_ece'))] * summed)
    title, caption = FIGURES[figure]
    if summed:
        caption += ' Last column: over shifted sets.'
    return Table(
        title,
        caption,
        ['model', 'clean', *names] + ['mean ± std'] * summed,
        rows,
    )


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
