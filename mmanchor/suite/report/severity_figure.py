"""Accuracy by severity of corruption."""

import numpy as np
from matplotlib.figure import Figure

from .figure_style import (
    WIDTH,
    label,
    legend_below,
    model_handles,
    model_style,
    new_figure,
)
from .reading import clean, corrupted_sets, figure_of, severities_of, shift

PER_ROW = 3


def severity_figure(results: dict) -> Figure | None:
    """Draw a panel for each corrupted set and a line for each model.

    Args:
        results (dict): See ``results.json``.

    Returns:
        matplotlib.figure.Figure | None: None where no set has severities.
    """
    models, names = results['models'], corrupted_sets(results)
    if not names:
        return None
    columns = 2 if len(names) in (2, 4) else min(len(names), PER_ROW)
    rows = -(-len(names) // columns)
    width = WIDTH if columns > 1 else WIDTH / 2
    figure = new_figure(width, 2.2 * rows + 0.14 * len(models) + 0.3)
    panels = figure.subplots(rows, columns, squeeze=False, sharey=True).flat
    for axes, name in zip(panels, names):
        _draw_panel(axes, results, name)
    for axes in panels[len(names) :]:
        axes.set_visible(False)
    for axes in panels[: len(names) : columns]:
        axes.set_ylabel('top-1 accuracy (%)')
    shown = [
        i
        for i, model in enumerate(models)
        if any(shift(model, name).get('by_severity') for name in names)
    ]
    legend_below(figure, model_handles(models, shown), width)
    return figure


def _draw_panel(axes, results: dict, name: str) -> None:
    severities = severities_of(results, name)
    for i, model in enumerate(results['models']):
        by_severity = shift(model, name).get('by_severity')
        if by_severity:
            points = [clean(model)] + [by_severity.get(s) for s in severities]
            axes.plot(_values(points), clip_on=False, **model_style(i))
    axes.set_xticks(range(len(severities) + 1), ['clean', *severities])
    axes.set_xlabel('severity')
    axes.set_title(label(name, 32))
    axes.grid(axis='y', alpha=0.3)


def _values(points: list[dict | None]) -> np.ndarray:
    """What is missing leaves a gap."""
    return np.array([figure_of(point, 'top1') for point in points], float)
