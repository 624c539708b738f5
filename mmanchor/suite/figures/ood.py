"""Anomaly scores of in- and out-of-distribution images, and ROC curves."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from ..results import Point, SuiteResults
from .style import (
    WIDTH,
    colour_of,
    label,
    model_style,
    new_figure,
    start_at_zero,
)

INSIDE = '0.72'  # grey, for images in distribution


def ood_figure(results: SuiteResults, name: str) -> Figure | None:
    """Draw the density of scores for each model, and the ROC curves of all.

    Each model is shown with its default score, the first one. It is None if no
    model has scores.
    """
    shown = [
        (i, model, Point(name, score=results.scores(model, name)[0]))
        for i, model in enumerate(results.models)
        if results.scores(model, name)
    ]
    if not shown:
        return None
    columns = 1 if len(shown) < 4 else 2
    rows = -(-len(shown) // columns)
    texts = [_legend_text(results, model, point) for _, model, point in shown]
    lines = sum(text.count('\n') + 1 for text in texts)
    figure = new_figure(WIDTH, max(3.3 + 0.16 * lines, 1.15 * rows + 0.5))
    left, right = figure.subfigures(1, 2, width_ratios=(1.15, 1))
    panels = left.subplots(rows, columns, squeeze=False).flat
    for axes, (i, model, point) in zip(panels, shown):
        histogram = results.curves(model, point)['histogram']
        _draw_density(axes, histogram, colour_of(i))
        axes.set_title(label(model, 28 if columns == 2 else 60), fontsize=7)
        axes.set_xlabel(f'{point.score} score'.replace('_', ' '), fontsize=7)
    for axes in panels[len(shown) :]:
        axes.set_visible(False)
    for axes in panels[: len(shown) : columns]:
        axes.set_ylabel('density', fontsize=7)
    left.legend(
        handles=[
            Patch(facecolor=INSIDE, label='in distribution'),
            Patch(
                facecolor='white',
                edgecolor='black',
                label=label(f'out: {name}', 28),
            ),
        ],
        loc='outside lower center',
        ncols=2,
    )
    _draw_roc_curves(right, results, shown, texts)
    return figure


def _draw_density(axes, histogram: dict, colour: str) -> None:
    edges = np.array(histogram['edges'], float)
    heights = []
    for side, style in (
        ('in', dict(fill=True, color=INSIDE)),
        ('out', dict(color=colour, linewidth=1.2)),
    ):
        count = np.array(histogram[side], float)
        area = max(count.sum(), 1) * np.diff(edges)
        heights += (count / area).tolist()
        axes.stairs(count / area, edges, **style)
    start_at_zero([axes], heights)
    axes.set_yticks([])
    axes.locator_params(axis='x', nbins=5)


def _legend_text(results: SuiteResults, model: str, point: Point) -> str:
    auroc = 100 * results.value(model, point, 'auroc')
    lines = label(model, 36).split('\n')
    return f'{auroc:.1f}  ' + ('\n' + 9 * ' ').join(lines)


def _draw_roc_curves(
    figure,
    results: SuiteResults,
    shown: list[tuple[int, str, Point]],
    texts: list[str],
) -> None:
    axes = figure.subplots()
    axes.plot((0, 100), (0, 100), color='0.7', linewidth=0.8)
    for (i, model, point), text in zip(shown, texts):
        roc = results.curves(model, point)['roc']
        axes.plot(
            100 * np.array(roc['fpr']),
            100 * np.array(roc['tpr']),
            label=text,
            **{**model_style(i), 'marker': ''},
        )
    axes.set(
        xlim=(0, 100),
        ylim=(0, 100),
        box_aspect=1,
        xlabel='images in distribution rejected (%)',
        ylabel='images out of distribution found (%)',
    )
    figure.legend(
        loc='outside lower center', title='AUROC (%)', alignment='left'
    )
