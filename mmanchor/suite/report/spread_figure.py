"""Error against the spread of logits over references."""

from collections.abc import Iterator

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ...evaluation.confidence_intervals import rank_correlation
from .figure_style import MARKERS, label, new_figure
from .reading import clean, figure_of, names_of, shift

PER_ROW = 3
NO_SEVERITY = '#d55e00'
POINT = dict(markersize=4, markeredgewidth=0.3, markeredgecolor='white')
CLEAN = dict(
    markersize=9, markeredgewidth=0.5, markeredgecolor='black', zorder=3
)


def spread_figure(results: dict) -> Figure | None:
    """Draw a panel for each model: a point a set, kind and severity.

    Args:
        results (dict): See ``results.json``.

    Returns:
        matplotlib.figure.Figure | None: None where no model has a spread.
    """
    found = [
        (model, list(_points(model, names_of(results, 'shifts'))))
        for model in results['models']
    ]
    found = [
        (model, points)
        for model, points in found
        if any(point[0] for point in points)
    ]
    if not found:
        return None
    columns = min(len(found), PER_ROW)
    rows = -(-len(found) // columns)
    severities = sorted(
        {
            point[3]
            for _, points in found
            for point in points
            if point[3] is not None
        },
        key=float,
    )
    colours = dict(
        zip(
            severities,
            colormaps['viridis_r'](
                [
                    0.08 + 0.92 * i / max(len(severities) - 1, 1)
                    for i in range(len(severities))
                ]
            ),
        )
    )
    width = max(2.2 * columns + 0.4, 3.5)
    figure = new_figure(width, 2.2 * rows + 0.9)
    panels = figure.subplots(rows, columns, squeeze=False, sharey=True).flat
    names = names_of(results, 'shifts')
    for axes, (model, points) in zip(panels, found):
        for spread, error, name, severity in points:
            axes.plot(
                spread,
                error,
                linestyle='',
                marker=_marker(names, name),
                color=colours.get(severity, NO_SEVERITY),
                **POINT if name else CLEAN,
            )
        axes.set_title(label(model['name'], 32))
        axes.set_xlabel('mean spread of logits' + _correlation(points))
        axes.grid(alpha=0.3)
        axes.set_ylim(bottom=0)
    for axes in panels[len(found) :]:
        axes.set_visible(False)
    for axes in panels[: len(found) : columns]:
        axes.set_ylabel('error (%)')
    sets, degrees = _handles(names, colours, found)
    blanks = [Line2D([], [], linestyle='', label=' ')] * abs(
        len(sets) - len(degrees)
    )  # to fill a column
    if len(sets) < len(degrees):
        sets += blanks
    else:
        degrees += blanks
    figure.legend(handles=sets + degrees, loc='outside lower center', ncols=2)
    return figure


def _correlation(points: list[tuple]) -> str:
    """Rank correlation of spread and error, in a line of its own."""
    found = rank_correlation(*np.array([point[:2] for point in points]).T)
    if found is None:
        return ''
    rho, low, high = found
    return f'\nρ = {rho:.2f} [{low:.2f}, {high:.2f}]'


def _points(model: dict, names: list[str]) -> Iterator[tuple]:
    """Spread, error, name of the set and severity, as far as they are."""
    parts = [(clean(model), None, '0')]
    for name in names:
        found = shift(model, name)
        cells = [
            (figures, name, severity)
            for row in (found.get('cells') or {}).values()
            for severity, figures in row.items()
        ]
        parts += cells or [(found.get('mean'), name, None)]
    for figures, name, severity in parts:
        spread = figure_of(figures, 'spread')
        top1 = figure_of(figures, 'top1')
        if spread is not None and top1 is not None:
            yield spread, 100 - top1, name, severity


def _marker(names: list[str], name: str | None) -> str:
    return '*' if name is None else MARKERS[names.index(name) % len(MARKERS)]


def _handles(
    names: list[str], colours: dict, found: list[tuple]
) -> tuple[list[Line2D], list[Line2D]]:
    """Entries of a legend: sets, and severities."""
    points = [point for _, points in found for point in points]
    sets, with_severities = (
        {point[2] for point in points if point[3] or not severe}
        for severe in (False, True)
    )
    shown = (
        [_handle('clean', '*', colours['0'], CLEAN)] if None in sets else []
    )
    shown += [
        _handle(
            label(name),
            _marker(names, name),
            '0.4' if name in with_severities else NO_SEVERITY,
            POINT,
        )
        for name in names
        if name in sets
    ]
    return shown, [
        _handle(f'severity {severity}', 'o', colour, POINT)
        for severity, colour in colours.items()
        if severity != '0'
    ]


def _handle(text: str, marker: str, colour, style: dict) -> Line2D:
    return Line2D(
        [], [], linestyle='', marker=marker, color=colour, label=text, **style
    )
