"""Anomaly scores of images in and out of distribution."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from .figure_style import (
    INSIDE,
    WIDTH,
    colour_of,
    label,
    model_style,
    new_figure,
)
from .reading import default_score, scores


def ood_figure(results: dict, name: str) -> Figure | None:
    """Draw densities for each model, and the ROC curves of all.

    Each model has its default score.

    Args:
        results (dict): See ``results.json``.
        name (str): Of the set out of distribution.

    Returns:
        matplotlib.figure.Figure | None: None where no model has scores.
    """
    shown = [
        (i, model, default_score(model, name))
        for i, model in enumerate(results['models'])
        if scores(model, name)
    ]
    if not shown:
        return None
    columns = 1 if len(shown) < 4 else 2
    rows = -(-len(shown) // columns)
    texts = [
        _legend_text(model, scores(model, name)[score])
        for _, model, score in shown
    ]
    lines = sum(text.count('\n') + 1 for text in texts)
    figure = new_figure(WIDTH, max(3.3 + 0.16 * lines, 1.15 * rows + 0.5))
    left, right = figure.subfigures(1, 2, width_ratios=(1.15, 1))
    panels = left.subplots(rows, columns, squeeze=False).flat
    for axes, (i, model, score) in zip(panels, shown):
        _draw_density(
            axes, scores(model, name)[score]['histogram'], colour_of(i)
        )
        axes.set_title(
            label(model['name'], 28 if columns == 2 else 60), fontsize=7
        )
        axes.set_xlabel(f'{score} score'.replace('_', ' '), fontsize=7)
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
    _draw_curves(right, shown, texts, name)
    return figure


def _draw_density(axes, histogram: dict, colour: str) -> None:
    edges = np.array(histogram['edges'], float)
    for side, style in (
        ('in', dict(fill=True, color=INSIDE)),
        ('out', dict(color=colour, linewidth=1.2)),
    ):
        count = np.array(histogram[side], float)
        area = max(count.sum(), 1) * np.diff(edges)
        axes.stairs(count / area, edges, **style)
    axes.set_ylim(bottom=0)
    axes.set_yticks([])


def _legend_text(model: dict, found: dict) -> str:
    lines = label(model['name'], 36).split('\n')
    return f'{100 * found["auroc"]:.1f}  ' + ('\n' + 9 * ' ').join(lines)


def _draw_curves(
    figure, shown: list[tuple[int, dict, str]], texts: list[str], name: str
) -> None:
    axes = figure.subplots()
    axes.plot((0, 100), (0, 100), color='0.7', linewidth=0.8)
    for (i, model, score), text in zip(shown, texts):
        found = scores(model, name)[score]
        style = {**model_style(i), 'marker': ''}
        axes.plot(
            100 * np.array(found['roc']['fpr']),
            100 * np.array(found['roc']['tpr']),
            label=text,
            **style,
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
