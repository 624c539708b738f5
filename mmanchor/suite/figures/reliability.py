"""Reliability diagrams: accuracy against confidence."""

import numpy as np
from matplotlib.artist import Artist
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from ..results import Point, SuiteResults, ece_of_bins
from .style import colour_of, label, new_figure

MODELS_IN_A_FIGURE, SETS_IN_A_FIGURE = 4, 5
FEW_IMAGES = 10  # the accuracy of a bin of fewer is mostly noise
PANEL_SIZE = 1.55  # in inches


def reliability_figures(results: SuiteResults) -> list[Figure]:
    """Draw reliability diagrams: a column for each model, a row for each set.

    There is more than one figure if not all models and sets fit on a page.
    """
    models = [
        (i, model)
        for i, model in enumerate(results.models)
        if any(results.bins(model, point) for point in results.points)
    ]
    points = [
        point
        for point in results.points
        if any(results.bins(model, point) for _, model in models)
    ]
    return [
        _draw_figure(
            results,
            models[i : i + MODELS_IN_A_FIGURE],
            points[j : j + SETS_IN_A_FIGURE],
        )
        for j in range(0, len(points), SETS_IN_A_FIGURE)
        for i in range(0, len(models), MODELS_IN_A_FIGURE)
    ]


def _draw_figure(
    results: SuiteResults, models: list[tuple[int, str]], points: list[Point]
) -> Figure:
    figure = new_figure(
        max(len(models) * PANEL_SIZE + 0.6, 2.4),
        len(points) * (1.3 * PANEL_SIZE) + 0.6,
    )
    figure.get_layout_engine().set(hspace=0.01, h_pad=0.035)
    fades = False
    grid = figure.subplots(
        2 * len(points),
        len(models),
        squeeze=False,
        sharex=True,
        height_ratios=(4, 1) * len(points),
    )
    for column, (index, model) in zip(grid.T, models):
        name = f'{label(model, 24)}\n'
        for point, axes, below in zip(points, column[0::2], column[1::2]):
            bins = results.bins(model, point)
            if bins is None:
                axes.set_visible(False)
                below.set_visible(False)
                continue
            pooled = point.set in results.corrupted_sets
            fades |= _draw_bins(axes, bins, colour_of(index))
            _draw_shares(below, bins)
            # computed from these bins: tables also have the mean over
            # corrupted sets
            ece = ece_of_bins(bins)
            error = f'ECE{" (pooled)" * pooled} {ece:.3f}'
            axes.set_title(name + ('' if ece is None else error), fontsize=7.5)
            name = ''  # only the first panel of a column has it
    titles = [
        'clean' if point == results.clean else label(point.set, 24)
        for point in points
    ]
    _label_rows(grid, titles)
    handles: list[Artist] = [
        Patch(facecolor='0.6', label='accuracy of a bin'),
        Patch(
            facecolor='none',
            edgecolor='0.25',
            hatch='//////',
            label='gap to its confidence',
        ),
        Line2D([], [], color='0.4', linestyle='--', label='calibrated'),
    ]
    if fades:
        text = f'pale: fewer than {FEW_IMAGES} images'
        handles.append(Patch(facecolor='0.88', label=text))
    figure.legend(
        handles=handles,
        loc='outside lower center',
        ncols=len(handles) if len(models) > 3 else min(2, len(models)),
    )
    return figure


def _draw_bins(axes, bins: dict, colour: str) -> bool:
    """Draw accuracy and gap of each bin; bins of few images are pale.

    It returns whether there are bins of few images.
    """
    edges = np.array(bins['edges'])
    accuracy = np.array(bins['accuracy'], float)  # NaN in empty bins
    confidence = np.array(bins['confidence'], float)
    count = np.array(bins['count'])
    width = np.diff(edges)
    bars = axes.bar(
        edges[:-1], accuracy, width, align='edge', color=colour, alpha=0.55
    )
    gaps = axes.bar(
        edges[:-1],
        confidence - accuracy,
        width,
        bottom=accuracy,
        align='edge',
        facecolor='none',
        edgecolor='0.25',
        linewidth=0.5,
        hatch='//////',
    )
    axes.plot((0, 1), (0, 1), color='0.4', linestyle='--', linewidth=0.8)
    axes.set(xlim=(0, 1), ylim=(0, 1), yticks=(0, 0.5, 1))
    few = np.flatnonzero((count > 0) & (count < FEW_IMAGES))
    for i in few:
        bars[i].set_alpha(0.15)
        gaps[i].set_edgecolor('0.75')
    return len(few) > 0


def _draw_shares(axes, bins: dict) -> None:
    """Draw the share of the images in each bin."""
    count, edges = np.array(bins['count']), np.array(bins['edges'])
    axes.bar(
        edges[:-1],
        100 * count / max(count.sum(), 1),
        np.diff(edges),
        align='edge',
        color='0.6',
    )
    axes.set(xlim=(0, 1), ylim=(0, 100), yticks=(0, 100), xticks=(0, 0.5, 1))


def _label_rows(grid, titles: list[str]) -> None:
    for axes in grid[:, 1:].flat:
        axes.tick_params(labelleft=False)
    for axes in grid[-1]:
        axes.set_xlabel('confidence')
    for title, upper, lower in zip(titles, grid[0::2], grid[1::2]):
        upper[0].set_ylabel(f'{title}\naccuracy')
        lower[0].set_ylabel('images\n(%)')
