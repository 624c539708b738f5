"""Accuracy on corrupted sets: lines by severity, and heat maps by kind."""

from collections.abc import Callable

import numpy as np
from matplotlib.figure import Figure

from ..report.table import number, signed
from ..results import Point, SuiteResults
from .style import (
    PANELS_IN_A_ROW,
    WIDTH,
    label,
    legend_below,
    model_handles,
    model_style,
    new_figure,
)

HEAT_MAPS_IN_A_ROW = 4
CELL = (0.29, 0.155)  # width and height of a cell of a heat map, in inches


def severity_figure(results: SuiteResults) -> Figure | None:
    """Draw accuracy by severity: a panel for each set, a line for each model.

    It is None if no set has severities.
    """
    models, names = results.models, results.corrupted_sets
    if not names:
        return None
    columns = 2 if len(names) in (2, 4) else min(len(names), PANELS_IN_A_ROW)
    rows = -(-len(names) // columns)
    width = WIDTH if columns > 1 else WIDTH / 2
    figure = new_figure(width, 2.2 * rows + 0.14 * len(models) + 0.3)
    panels = figure.subplots(rows, columns, squeeze=False, sharey=True).flat
    shown = set()
    for axes, name in zip(panels, names):
        severities = results.severities(name)
        points = [Point(name, severity=severity) for severity in severities]
        for i, model in enumerate(models):
            values = _accuracies(results, model, [results.clean, *points])
            if not np.isnan(values[1:]).all():
                # NaN, a missing value, leaves a gap in the line
                axes.plot(values, clip_on=False, **model_style(i))
                shown.add(i)
        axes.set_xticks(range(len(points) + 1), ['clean', *severities])
        axes.set_xlabel('severity')
        axes.set_title(label(name, 32))
        axes.grid(axis='y', alpha=0.3)
    for axes in panels[len(names) :]:
        axes.set_visible(False)
    for axes in panels[: len(names) : columns]:
        axes.set_ylabel('top-1 accuracy (%)')
    legend_below(figure, model_handles(models, sorted(shown)), width)
    return figure


def _accuracies(
    results: SuiteResults, model: str, points: list[Point]
) -> np.ndarray:
    values = [results.value(model, point, 'top1') for point in points]
    return np.array(values, float)


def heat_map(results: SuiteResults, name: str) -> Figure | None:
    """Draw accuracy by kind and severity of corruption.

    The first panel shows the accuracy of the first model that was measured
    on the set, the others show the difference of each further model from it.
    The last column and the last row are means. It is None if no model has
    accuracies by kind and severity.
    """
    kinds, severities = results.kinds(name), results.severities(name)
    grids = {
        model: np.array(
            [
                _accuracies(
                    results,
                    model,
                    [Point(name, kind, one) for one in (*severities, '')],
                )
                for kind in (*kinds, '')
            ]
        )
        for model in results.models
    }
    grids = {
        model: grid
        for model, grid in grids.items()
        if not np.isnan(grid[:-1, :-1]).all()
    }
    if not grids:
        return None
    columns = min(len(grids), HEAT_MAPS_IN_A_ROW)
    rows = -(-len(grids) // columns)
    figure = new_figure(
        columns * (CELL[0] * (len(severities) + 1) + 0.12) + 1.3,
        rows * (CELL[1] * (len(kinds) + 1) + 0.5)
        + (0.75 if rows == 1 else 1.3),
    )
    panels = figure.subplots(
        rows, columns, squeeze=False, sharex=True, sharey=True
    ).flat
    for axes in panels[len(grids) :]:
        axes.set_visible(False)
    for axes in panels[: len(grids)]:
        axes.set_xticks(range(len(severities) + 1), [*severities, 'mean'])
        axes.tick_params(labelbottom=True, length=0)
    for axes in panels[0::columns]:
        axes.set_yticks(
            range(len(kinds) + 1),
            [*(kind.replace('_', ' ') for kind in kinds), 'mean'],
        )
    names = [label(model, 30) for model in grids]
    first, *others = grids.values()
    image = _draw_grid(panels[0], first, number, cmap='cividis')
    panels[0].set_title(f'{names[0]}\naccuracy', fontsize=7)
    bar_panels = panels[:1] if rows == 1 else panels
    _colour_bar(figure, image, bar_panels, 'top-1 accuracy (%)')
    if others:
        bar_panels = panels[1:] if rows == 1 else panels
        _draw_differences(
            figure,
            panels[1:],
            [grid - first for grid in others],
            names,
            bar_panels,
        )
    return figure


def _draw_differences(
    figure, panels, differences: list[np.ndarray], names: list[str], bar_panels
) -> None:
    """Draw all differences in the same colours, with white for zero."""
    limit = max(1.0, *(np.abs(np.nan_to_num(d)).max() for d in differences))
    for axes, name, values in zip(panels, names[1:], differences):
        image = _draw_grid(
            axes, values, signed, cmap='RdBu', vmin=-limit, vmax=limit
        )
        axes.set_title(f'{name}\ndifference', fontsize=7)
    text = f'difference from {names[0]} (points)'
    _colour_bar(figure, image, bar_panels, text)


def _colour_bar(figure, image, panels, text: str) -> None:
    bar = figure.colorbar(
        image,
        ax=list(panels),
        location='bottom',
        aspect=14 * min(len(panels), HEAT_MAPS_IN_A_ROW),
        pad=0.02,
    )
    bar.set_label(text, fontsize=7)
    bar.outline.set_visible(False)


def _draw_grid(axes, values: np.ndarray, form: Callable, **style):
    """Draw colours with their numbers; missing values are grey."""
    image = axes.imshow(np.ma.masked_invalid(values), aspect='auto', **style)
    axes.set_facecolor('0.9')
    for (y, x), value in np.ndenumerate(values):
        missing = np.isnan(value)
        red, green, blue, _ = image.to_rgba(0.0 if missing else value)
        light = 0.3 * red + 0.59 * green + 0.11 * blue > 0.5
        axes.text(
            x,
            y,
            '–' if missing else form(value),
            ha='center',
            va='center',
            fontsize=5.5,
            color='black' if light or missing else 'white',
        )
    axes.axhline(len(values) - 1.5, color='white', linewidth=2)
    axes.axvline(values.shape[1] - 1.5, color='white', linewidth=2)
    axes.spines[:].set_visible(False)
    return image
