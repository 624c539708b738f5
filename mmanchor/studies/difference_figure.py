"""Differences from a baseline and their intervals, one panel a metric."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from ..suite.report.figure_style import WIDTH, label, model_style, new_figure
from .metrics import find_metric

ROW, MARGIN = 0.2, 0.75  # inches: of a setting, of titles and axes


def difference_figure(results: dict, metrics: Sequence[str]) -> Figure | None:
    """Draw the paired differences of all settings.

    A filled mark's interval does not hold zero; an empty one is level, or of
    one seed, which has no interval.

    Args:
        results (dict): See ``results.json``.
        metrics (Sequence[str]): A panel each, where there are differences.

    Returns:
        matplotlib.figure.Figure | None: None where no difference has an
        interval.
    """
    compared = [one for one in results['settings'] if one.get('difference')]
    found = [one['difference']['metrics'] for one in compared]
    metrics = [
        name
        for name in metrics
        if any(name in one and one[name]['interval'] for one in found)
    ]
    if not metrics:
        return None
    figure = new_figure(WIDTH, MARGIN + ROW * len(compared))
    panels = figure.subplots(1, len(metrics), squeeze=False, sharey=True)[0]
    series = list(dict.fromkeys(one['series'] for one in results['settings']))
    for axes, metric in zip(panels, metrics):
        axes.axvline(0, color='0.4', linewidth=0.8)
        for row, (setting, values) in enumerate(zip(compared, found)):
            if metric in values:
                _draw(
                    axes,
                    row,
                    values[metric],
                    model_style(series.index(setting['series'])),
                )
        axes.set_title(find_metric(metric).title)
        axes.grid(axis='x', alpha=0.3)
        axes.set_axisbelow(True)
        axes.tick_params(axis='y', length=0)
        axes.locator_params(axis='x', nbins=4)
    panels[0].set_yticks(
        range(len(compared)), [label(one['name'], 34) for one in compared]
    )
    panels[0].set_ylim(len(compared) - 0.4, -0.6)  # the first on top
    figure.supxlabel(
        f'paired difference from {label(results["baseline"])}, with 95 % '
        'intervals; filled: does not hold zero',
        fontsize=7.5,
    )
    return figure


def _draw(axes, row: int, difference: dict, style: dict) -> None:
    value, interval = difference['mean'], difference['interval']
    if interval is not None:
        axes.hlines(row, *interval, color=style['color'], linewidth=1.1)
    axes.plot(
        value,
        row,
        color=style['color'],
        marker=style['marker'],
        markersize=4.5,
        markerfacecolor=style['color']
        if difference['level'] is False
        else 'white',
    )
