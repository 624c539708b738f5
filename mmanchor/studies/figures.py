"""The figure of a study: lines, points side by side, a landscape."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ..suite.report.figure_style import (
    WIDTH,
    label,
    legend_below,
    model_style,
    new_figure,
)
from .landscape_figure import landscape_figure
from .metrics import find_metric
from .results import figures_of
from .spec import Plot

PAPER = 'paper'
IN_A_ROW = 6  # groups of points that an axis has room to name
# of what was published, beside one's own
_SEED = dict(linestyle='', marker='.', markersize=2.5)
_MARK = dict(colors='0.1', linestyle=':', linewidth=1.4)
_PAPER_LINE = dict(linestyle=':', marker='', linewidth=1.1, alpha=0.8)


def study_figure(results: dict, plot: Plot) -> Figure | None:
    """Draw a study.

    Args:
        results (dict): See ``results.json``.
        plot (Plot): How.

    Returns:
        matplotlib.figure.Figure | None: None where there is nothing to draw.
    """
    if plot.kind == 'landscape':
        return landscape_figure(results)
    metrics = [
        name
        for name in plot.metrics
        if any(
            name in figures_of(results, one)['mean']
            for one in results['settings']
        )
    ]
    if not metrics:
        return None
    width = WIDTH if len(metrics) > 1 else WIDTH / 2
    places = _places(results, metrics)
    in_rows = plot.kind == 'points' and len(places) > IN_A_ROW
    figure = new_figure(width, 1.2 + 0.2 * len(places) if in_rows else 2.9)
    handles = {}
    panels = figure.subplots(1, len(metrics), squeeze=False, sharey=in_rows)[0]
    for axes, metric in zip(panels, metrics):
        if plot.kind == 'lines':
            handles.update(_lines(axes, results, metric, plot))
        elif in_rows:
            handles.update(_below_each_other(axes, results, metric, places))
        else:
            handles.update(_side_by_side(axes, results, metric))
        axes.set_title(find_metric(metric).title)
        axes.set_xlabel('' if in_rows else plot.xlabel)
        axes.grid(axis='x' if in_rows else 'y', alpha=0.3)
        axes.set_axisbelow(True)
    if in_rows:
        panels[0].set_ylabel(plot.xlabel)
    legend_below(figure, list(handles.values()), width)
    return figure


def _series(results: dict) -> list[str]:
    return list(dict.fromkeys(one['series'] for one in results['settings']))


def _points(results: dict, metric: str, series: str, paper: bool = False):
    """x, mean and standard deviation of a series' settings."""
    found = []
    for one in results['settings']:
        if one['series'] != series:
            continue
        figures = figures_of(results, one)
        mean = (one['paper'] if paper else figures['mean']).get(metric)
        std = None if paper else figures['std'].get(metric)
        if mean is not None:
            found.append((one['x'], mean, std or 0.0))
    return found


def _lines(axes, results: dict, metric: str, plot: Plot) -> dict[str, Line2D]:
    """A line for each series; what has no x goes all along."""
    handles = {}
    xs = list(
        dict.fromkeys(
            one['x'] for one in results['settings'] if one['x'] is not None
        )
    )
    in_words = any(isinstance(x, str) for x in xs)

    def place(x):
        return xs.index(x) if in_words else x

    for i, series in enumerate(_series(results)):
        look = model_style(i)
        for paper in (False, True):
            points = _points(results, metric, series, paper)
            style = {**look, **_PAPER_LINE} if paper else look
            along = [one for one in points if one[0] is None]
            for _, mean, std in along:
                axes.axhline(mean, **{**style, 'marker': ''})
                if std:
                    axes.axhspan(
                        mean - std,
                        mean + std,
                        color=look['color'],
                        alpha=0.12,
                        linewidth=0,
                    )
            points = sorted(
                (place(x), mean, std)
                for x, mean, std in points
                if x is not None
            )
            if points:
                x, mean, std = np.array(points, float).T
                axes.plot(x, mean, **style)
                axes.fill_between(
                    x,
                    mean - std,
                    mean + std,
                    color=look['color'],
                    alpha=0.15,
                    linewidth=0,
                )
            if along or points:
                name = f'{series}, {PAPER}' if paper else series
                if not points:
                    style = {**style, 'marker': ''}
                handles[name] = Line2D([], [], label=label(name), **style)
    if plot.log:
        axes.set_xscale('log')
        axes.minorticks_off()
    if in_words or 0 < len(xs) <= 9:
        places = list(map(place, xs))
        axes.set_xticks(
            places,
            _with_room(places, list(map(str, xs)), plot.log),
            rotation=30 if in_words and len(xs) > 4 else 0,
        )
    return handles


def _with_room(places: list, names: list[str], log: bool) -> list[str]:
    """Names on an axis, without those that would be upon another.

    Example:
        >>> _with_room([0, 1, 20], ['0', '1', '20'], log=False)
        ['0', '', '20']
    """
    at = np.log(places) if log else np.array(places, float)
    at = (at - at.min()) / (np.ptp(at) or 1)
    found = [''] * len(names)
    for i in np.argsort(at):
        # letters are some 2 % of a panel wide
        if all(
            not other
            or abs(at[i] - at[j]) >= 0.03 + 0.011 * len(names[i] + other)
            for j, other in enumerate(found)
        ):
            found[i] = names[i]
    return found


def _side_by_side(axes, results: dict, metric: str) -> dict[str, Line2D]:
    """Means with their spread and every seed's, grouped by x.

    What has no x stands by itself, under its name.
    """
    places = _places(results, [metric])
    handles = _marks(axes, results, metric, places)
    axes.margins(y=0.15)
    axes.set_xlim(-0.6, len(places) - 0.4)
    crowded = len(places) > 3
    axes.set_xticks(
        # lines of a name would be upon another's where they are slanted
        range(len(places)),
        [label(x, 99 if crowded else 14) for x in places],
        rotation=30 if crowded else 0,
        ha='right' if crowded else 'center',
        rotation_mode='anchor' if crowded else None,
    )
    return handles


def _below_each_other(
    axes, results: dict, metric: str, places: list[str]
) -> dict[str, Line2D]:
    """The same in rows, where there are too many names for an axis."""
    handles = _marks(axes, results, metric, places, in_rows=True)
    axes.margins(x=0.1)
    axes.set_yticks(range(len(places)), [label(x, 34) for x in places])
    axes.set_ylim(len(places) - 0.4, -0.6)  # the first on top
    axes.tick_params(axis='y', length=0)
    axes.locator_params(axis='x', nbins=4)
    return handles


def _places(results: dict, metrics: Sequence[str]) -> list[str]:
    """Groups of settings by x, of those that have one of some metrics."""
    return list(
        dict.fromkeys(
            _x_of(one)
            for one in results['settings']
            if {*figures_of(results, one)['mean'], *one['paper']}
            & set(metrics)
        )
    )


def _marks(
    axes, results: dict, metric: str, places: list[str], in_rows: bool = False
) -> dict[str, Line2D]:
    """Draw the settings of each group beside each other.

    Returns:
        Dict[str, Line2D]: For the legend, by name.
    """
    handles = {}
    groups: dict[str, list[dict]] = {place: [] for place in places}
    for one in results['settings']:
        if metric in {**figures_of(results, one)['mean'], **one['paper']}:
            groups[_x_of(one)].append(one)
    series = _series(results)
    width = 0.7 / max(map(len, groups.values()))

    def point(at, value):
        return (value, at) if in_rows else (at, value)

    for place, inside in enumerate(groups.values()):
        for i, one in enumerate(inside):
            look = model_style(series.index(one['series']))
            look['linestyle'] = ''
            at = place + (i - (len(inside) - 1) / 2) * width
            figures = figures_of(results, one)
            mean = figures['mean'].get(metric)
            if mean is not None:
                axes.errorbar(
                    *point(at, mean),
                    **{
                        'xerr' if in_rows else 'yerr': figures['std'].get(
                            metric
                        )
                    },
                    capsize=2.5,
                    **{**look, 'markersize': 5},
                )
                seeds = [
                    of[metric] for of in one['seeds'].values() if metric in of
                ]
                axes.plot(
                    *point(
                        [at + (0.3 if in_rows else 0.16) * width] * len(seeds),
                        seeds,
                    ),
                    color=look['color'],
                    alpha=0.4,
                    **_SEED,
                )
                handles[one['series']] = Line2D(
                    [], [], label=label(one['series']), **look
                )
            if metric in one['paper']:
                draw = axes.vlines if in_rows else axes.hlines
                draw(
                    one['paper'][metric],
                    at - width / 2,
                    at + width / 2,
                    **_MARK,
                )
                handles[PAPER] = Line2D(
                    [], [], label=PAPER, color=_MARK['colors'], linestyle=':'
                )
    return handles


def _x_of(setting: dict) -> str:
    return str(setting['name'] if setting['x'] is None else setting['x'])
