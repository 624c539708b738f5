"""Accuracy and spread by set, severity and kind of corruption."""

from .reading import (
    clean,
    corrupted_sets,
    corruptions,
    figure_of,
    kinds_of,
    names_of,
    severities_of,
    shift,
)
from .table import Table, number, with_difference


def accuracy_table(results: dict) -> Table:
    """Clean and shifted sets, each with the difference from the first model.

    Args:
        results (dict): See ``results.json``.
    """
    models, names = results['models'], names_of(results, 'shifts')
    relative = any(model.get('mce') is not None for model in models)
    rows = []
    for model in models:
        values = _by_set(model, names, 'top1')
        if model is models[0]:
            first = values
            cells = [number(value) for value in values]
        else:
            cells = [with_difference(*pair) for pair in zip(values, first)]
        rows.append(
            [model['name'], *cells] + [number(model.get('mce'))] * relative
        )
    caption = 'Corrupted sets: mean over kinds and severities.'
    for name in corrupted_sets(results):
        caption += f' {name}: {corruptions(results, name)}.'
    if len(models) > 1:
        caption += (
            f' In parentheses: difference from {models[0]["name"]}, in points.'
        )
    if relative:
        caption += ' mCE: mean corruption error relative to AlexNet, in %.'
    return Table(
        'Top-1 accuracy, %',
        caption,
        ['model', 'clean', *names] + ['mCE'] * relative,
        rows,
    )


def severity_tables(results: dict) -> list[Table]:
    """Accuracy by severity, a table for each corrupted set."""
    tables = []
    for name in corrupted_sets(results):
        severities = severities_of(results, name)
        rows = []
        for model in results['models']:
            found = shift(model, name)
            by_severity = found.get('by_severity') or {}
            points = [clean(model)]
            points += [by_severity.get(severity) for severity in severities]
            points.append(found.get('mean'))
            rows.append(
                [model['name']]
                + [number(figure_of(point, 'top1')) for point in points]
            )
        tables.append(
            Table(
                f'Top-1 accuracy on {name} by severity, %',
                f'{corruptions(results, name)}.',
                ['model', 'clean', *severities, 'mean'],
                rows,
            )
        )
    return tables


def kind_tables(results: dict) -> list[Table]:
    """Accuracy by kind of corruption, a table for each corrupted set."""
    tables = []
    for name in names_of(results, 'shifts'):
        rows = [
            [kind.replace('_', ' ')]
            + [
                number(
                    figure_of(
                        (shift(model, name).get('by_kind') or {}).get(kind),
                        'top1',
                    )
                )
                for model in results['models']
            ]
            for kind in kinds_of(results, name)
        ]
        if rows:
            header = ['kind'] + [model['name'] for model in results['models']]
            tables.append(
                Table(
                    f'Top-1 accuracy on {name} by kind, %',
                    f'Mean over severities; {corruptions(results, name)}.',
                    header,
                    rows,
                )
            )
    return tables


def reference_tables(results: dict) -> list[Table]:
    """Spread over references, and how many of them were used."""
    names = names_of(results, 'shifts')
    header = ['model', 'clean', *names]
    spread, used = (
        [
            [model['name'], *_by_set(model, names, figure)]
            for model in results['models']
        ]
        for figure in ('spread', 'mean_used')
    )
    tables = [
        Table(
            'Spread of logits over references',
            'Standard deviation, mean over classes and images.',
            header,
            [[row[0], *(number(v, 3) for v in row[1:])] for row in spread],
        )
    ]
    held = [model.get('num_references') for model in results['models']]
    if any(
        value not in (None, k)
        for row, k in zip(used, held)
        for value in row[1:]
    ):
        tables.append(
            Table(
                'References used, mean over images',
                '',
                header,
                [[row[0], *map(number, row[1:])] for row in used],
            )
        )
    return tables


def _by_set(model: dict, names: list[str], figure: str) -> list:
    """A figure of clean images, and of each shifted set."""
    points = [clean(model)] + [
        shift(model, name).get('mean') for name in names
    ]
    return [figure_of(point, figure) for point in points]
