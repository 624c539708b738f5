"""Accuracy around a model's weights, as a map."""

import numpy as np
from matplotlib.figure import Figure

from ..suite.report.figure_style import WIDTH, label, new_figure

PARTS = dict(normalised='filter-normalised', raw='raw')


def landscape_figure(results: dict) -> Figure | None:
    """Draw a map for each setting and each kind of directions.

    All have the same colours, and contours every tenth of them.

    Args:
        results (dict): See ``results.json``.

    Returns:
        matplotlib.figure.Figure | None: None where no setting has one.
    """
    settings = [one for one in results['settings'] if 'landscape' in one]
    if not settings:
        return None
    parts = [part for part in PARTS if part in settings[0]['landscape']]
    size = min(2.2, (WIDTH - 0.8) / len(settings))
    figure = new_figure(size * len(settings) + 1.0, (size + 0.25) * len(parts))
    panels = figure.subplots(
        len(parts), len(settings), squeeze=False, sharex=True, sharey=True
    )
    tables = np.array(
        [[one['landscape'][part] for one in settings] for part in parts]
    )
    limits = dict(vmin=tables.min(), vmax=max(tables.max(), tables.min() + 1))
    for part, row, maps in zip(parts, panels, tables):
        for axes, one, values in zip(row, settings, maps):
            steps = one['landscape']['steps']
            image = axes.pcolormesh(
                steps, steps, values, shading='nearest', **limits
            )
            axes.contour(
                steps,
                steps,
                values,
                levels=np.linspace(*limits.values(), 11)[1:-1],
                colors='white',
                linewidths=0.4,
                alpha=0.6,
            )
            axes.plot(0, 0, marker='+', color='black', markersize=6)
            axes.set_aspect('equal')
            if part is parts[0]:
                axes.set_title(label(one['name'], 24))
            if one is settings[0]:
                axes.set_ylabel(f'{PARTS[part]}\nsecond direction')
            if part is parts[-1]:
                axes.set_xlabel('first direction')
    bar = figure.colorbar(image, ax=panels, aspect=15 * len(parts), pad=0.02)
    bar.set_label('corrupted accuracy (%)')
    bar.outline.set_visible(False)
    return figure
