"""Error against the spread of logits over references."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ...evaluation.confidence_intervals import rank_correlation
from ..results import Point, SuiteResults
from .style import (
    MARKERS,
    PANELS_IN_A_ROW,
    label,
    new_figure,
    start_at_zero,
)

NO_SEVERITY = '#d55e00'  # colour of sets without severities
SHIFTED = dict(markersize=4, markeredgewidth=0.3, markeredgecolor='white')
CLEAN = dict(
    markersize=9, markeredgewidth=0.5, markeredgecolor='black', zorder=3
)


class SpreadPoint(NamedTuple):
    """One marker of the figure: a model on some test images."""

    spread: float
    error: float
    images: Point


def spread_figure(results: SuiteResults) -> Figure | None:
    """Draw a panel for each model: a marker for each set, kind and severity.

    It is None if no model has a spread.
    """
    shown = {model: _points(results, model) for model in results.models}
    shown = {
        model: points
        for model, points in shown.items()
        if any(one.spread for one in points)
    }
    if not shown:
        return None
    columns = min(len(shown), PANELS_IN_A_ROW)
    rows = -(-len(shown) // columns)
    images = list(
        dict.fromkeys(
            one.images for points in shown.values() for one in points
        )
    )
    colours = _severity_colours(images)
    names = results.sets('shifts')
    markers = {name: MARKERS[i % len(MARKERS)] for i, name in enumerate(names)}
    markers[results.clean.set] = '*'
    figure = new_figure(max(2.2 * columns + 0.4, 3.5), 2.2 * rows + 0.9)
    panels = figure.subplots(rows, columns, squeeze=False, sharey=True).flat
    for axes, (model, points) in zip(panels, shown.items()):
        for spread, error, one in points:
            axes.plot(
                spread,
                error,
                linestyle='',
                marker=markers[one.set],
                color=colours.get(one.severity, NO_SEVERITY),
                **CLEAN if one == results.clean else SHIFTED,
            )
        axes.set_title(label(model, 32))
        axes.set_xlabel('mean spread of logits' + _correlation(points))
        axes.grid(alpha=0.3)
    for axes in panels[len(shown) :]:
        axes.set_visible(False)
    for axes in panels[: len(shown) : columns]:
        axes.set_ylabel('error (%)')
    errors = [one.error for points in shown.values() for one in points]
    start_at_zero(panels[: len(shown)], errors)
    sets = _set_handles(results, images, markers, colours)
    severities = [
        _handle(f'severity {severity}', 'o', colour, SHIFTED)
        for severity, colour in colours.items()
        if severity != '0'
    ]
    # The legend has two columns. Blank entries fill the shorter one.
    blank = Line2D([], [], linestyle='', label=' ')
    length = max(len(sets), len(severities))
    sets += [blank] * (length - len(sets))
    severities += [blank] * (length - len(severities))
    figure.legend(
        handles=sets + severities, loc='outside lower center', ncols=2
    )
    return figure


def _points(results: SuiteResults, model: str) -> list[SpreadPoint]:
    """The markers of a model: of corrupted sets, each kind and severity."""
    images = [results.clean]
    for name in results.sets('shifts'):
        cells = [
            Point(name, kind, severity)
            for kind in results.kinds(name)
            for severity in results.severities(name)
            if results.value(model, Point(name, kind, severity), 'top1')
            is not None
        ]
        images += cells or [Point(name)]
    points = []
    for one in images:
        spread = results.value(model, one, 'spread')
        top1 = results.value(model, one, 'top1')
        if spread is not None and top1 is not None:
            points.append(SpreadPoint(spread, 100 - top1, one))
    return points


def _correlation(points: Sequence[SpreadPoint]) -> str:
    """The rank correlation of spread and error, on a line of its own."""
    found = rank_correlation(*np.array([point[:2] for point in points]).T)
    if found is None:
        return ''
    rho, low, high = found
    return f'\nρ = {rho:.2f} [{low:.2f}, {high:.2f}]'


def _severity_colours(images: Sequence[Point]) -> dict[str, tuple]:
    """Darker colours for higher severities."""
    severities = sorted(
        {one.severity for one in images if one.severity}, key=float
    )
    steps = max(len(severities) - 1, 1)
    shades = [0.08 + 0.92 * i / steps for i in range(len(severities))]
    return dict(zip(severities, colormaps['viridis_r'](shades)))


def _set_handles(
    results: SuiteResults,
    images: Sequence[Point],
    markers: dict[str, str],
    colours: dict[str, tuple],
) -> list[Line2D]:
    """Legend entries of the sets that the figure shows."""
    handles = []
    if results.clean in images:
        handles.append(_handle('clean', '*', colours['0'], CLEAN))
    for name in results.sets('shifts'):
        severities = {one.severity for one in images if one.set == name}
        if severities:
            colour = NO_SEVERITY if severities == {''} else '0.4'
            handles.append(
                _handle(label(name), markers[name], colour, SHIFTED)
            )
    return handles


def _handle(text: str, marker: str, colour, style: dict) -> Line2D:
    return Line2D(
        [], [], linestyle='', marker=marker, color=colour, label=text, **style
    )
