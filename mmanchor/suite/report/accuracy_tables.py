"""Accuracy and spread by set, severity and kind of corruption."""

from .reading import (
    clean,
    corrupted_sets,
    corruptions,
    figure_of,
    images_in_words,
    interval_of,
    kinds_of,
    names_of,
    severities_of,
    shift,
    shown,
)
from .table import Table, number, with_difference


def accuracy_table(results: dict, intervals: bool = False) -> Table:
    """Clean and shifted sets, each with the difference from the first model.

    Args:
        results (dict): See ``results.json``.
        intervals (bool): Whether to show confidence intervals. Defaults to
            False.
    """
    models, names = results['models'], names_of(results, 'shifts')
    relative = any(model.get('mce') is not None for model in models)
    rows = []
    for model in models:
        points = _points(model, names)
        if model is models[0]:
            first = points
            cells = [shown(point, 'top1', 1, intervals) for point in points]
        else:
            cells = [
                with_difference(
                    figure_of(point, 'top1'),
                    figure_of(base, 'top1'),
                    interval_of(point, 'top1') if intervals else None,
                )
                for point, base in zip(points, first)
            ]
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
    caption = ' '.join(filter(None, [caption, images_in_words(results)]))
    return Table(
        'Top-1 accuracy, %',
        caption,
        ['model', 'clean', *names] + ['mCE'] * relative,
        rows,
    )


def severity_tables(results: dict, intervals: bool = False) -> list[Table]:
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
                + [shown(point, 'top1', 1, intervals) for point in points]
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


def kind_tables(results: dict, intervals: bool = False) -> list[Table]:
    """Accuracy by kind of corruption, a table for each corrupted set."""
    tables = []
    for name in names_of(results, 'shifts'):
        rows = [
            [kind.replace('_', ' ')]
            + [
                shown(
                    (shift(model, name).get('by_kind') or {}).get(kind),
                    'top1',
                    1,
                    intervals,
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


def reference_tables(results: dict, intervals: bool = False) -> list[Table]:
    """Spread over references, and how many of them were used."""
    models, names = results['models'], names_of(results, 'shifts')

    def table(title: str, caption: str, figure: str, digits: int) -> Table:
        rows = [
            [model['name']]
            + [
                shown(point, figure, digits, intervals)
                for point in _points(model, names)
            ]
            for model in models
        ]
        return Table(title, caption, ['model', 'clean', *names], rows)

    tables = [
        table(
            'Spread of logits over references',
            'Standard deviation, mean over classes and images.',
            'spread',
            3,
        )
    ]
    if any(
        figure_of(point, 'mean_used')
        not in (None, model.get('num_references'))
        for model in models
        for point in _points(model, names)
    ):
        tables.append(
            table('References used, mean over images', '', 'mean_used', 1)
        )
    return tables


def _points(model: dict, names: list[str]) -> list[dict | None]:
    """The figures of clean images, and of each shifted set."""
    return [clean(model)] + [shift(model, name).get('mean') for name in names]
