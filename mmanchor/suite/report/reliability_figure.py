"""Accuracy against confidence."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from .figure_style import colour_of, label, new_figure
from .reading import ece_of_bins, names_of, shift

MODELS, SETS = 4, 5  # in one figure
SIZE = 1.55  # of a panel, in inches


def reliability_figures(results: dict) -> list[Figure]:
    """Draw reliability diagrams: a column a model, a row a set of images.

    Args:
        results (dict): See ``results.json``.

    Returns:
        List[matplotlib.figure.Figure]: More than one where there are more
        models or sets than a page has room for.
    """
    models = [
        (i, model)
        for i, model in enumerate(results['models'])
        if any(
            _found(model, name)[0]
            for name in (None, *names_of(results, 'shifts'))
        )
    ]
    names = [
        name
        for name in (None, *names_of(results, 'shifts'))
        if any(_found(model, name)[0] for _, model in models)
    ]
    return [
        _draw(models[i : i + MODELS], names[j : j + SETS])
        for j in range(0, len(names), SETS)
        for i in range(0, len(models), MODELS)
    ]


def _found(model: dict, name: str | None) -> tuple[dict | None, float]:
    """Bins of a set, or of clean images if it has no name, and their ECE."""
    bins = (
        model.get('reliability')
        if name is None
        else shift(model, name).get('reliability')
    )
    # tables have the mean over kinds and severities as well
    return bins, ece_of_bins(bins) if bins else None


def _draw(models: list[tuple[int, dict]], names: list[str | None]) -> Figure:
    figure = new_figure(
        max(len(models) * SIZE + 0.6, 2.4), len(names) * (1.3 * SIZE) + 0.6
    )
    figure.get_layout_engine().set(hspace=0.01, h_pad=0.035)
    grid = figure.subplots(
        2 * len(names),
        len(models),
        squeeze=False,
        sharex=True,
        height_ratios=(4, 1) * len(names),
    )
    for column, (index, model) in zip(grid.T, models):
        column[0].set_title(label(model['name'], 24), fontsize=7.5)
        for name, axes, below in zip(names, column[0::2], column[1::2]):
            bins, ece = _found(model, name)
            if bins is None:
                axes.set_visible(False)
                below.set_visible(False)
                continue
            pooled = bool(name and shift(model, name).get('cells'))
            _draw_bins(axes, bins, ece, colour_of(index), pooled)
            _draw_shares(below, bins)
    _label_rows(grid, names)
    figure.legend(
        handles=[
            Patch(facecolor='0.6', label='accuracy of a bin'),
            Patch(
                facecolor='none',
                edgecolor='0.25',
                hatch='//////',
                label='gap to its confidence',
            ),
            Line2D([], [], color='0.4', linestyle='--', label='calibrated'),
        ],
        loc='outside lower center',
        ncols=3 if len(models) > 2 else 2 if len(models) > 1 else 1,
    )
    return figure


def _draw_bins(
    axes, bins: dict, ece: float | None, colour: str, pooled: bool
) -> None:
    edges = np.array(bins['edges'])
    accuracy = np.array(bins['accuracy'], float)  # NaN where a bin is empty
    confidence = np.array(bins['confidence'], float)
    width = np.diff(edges)
    axes.bar(
        edges[:-1], accuracy, width, align='edge', color=colour, alpha=0.55
    )
    axes.bar(
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
    if ece is not None:
        axes.text(
            0.04,
            0.96,
            f'ECE{" (pooled)" * pooled} {ece:.3f}',
            va='top',
            transform=axes.transAxes,
        )


def _draw_shares(axes, bins: dict) -> None:
    count, edges = np.array(bins['count']), np.array(bins['edges'])
    axes.bar(
        edges[:-1],
        100 * count / max(count.sum(), 1),
        np.diff(edges),
        align='edge',
        color='0.6',
    )
    axes.set(xlim=(0, 1), ylim=(0, 100), yticks=(0, 100), xticks=(0, 0.5, 1))


def _label_rows(grid, names: list[str | None]) -> None:
    for axes in grid[:, 1:].flat:
        axes.tick_params(labelleft=False)
    for axes in grid[-1]:
        axes.set_xlabel('confidence')
    for name, upper, lower in zip(names, grid[0::2], grid[1::2]):
        title = 'clean' if name is None else label(name, 24)
        upper[0].set_ylabel(f'{title}\naccuracy')
        lower[0].set_ylabel('images\n(%)')
