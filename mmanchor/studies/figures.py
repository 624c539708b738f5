"""The figures of a study: lines, points, differences and landscapes."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ..suite.figures.style import (
    WIDTH,
    label,
    legend_below,
    model_style,
    new_figure,
)
from .metrics import find_metric
from .results import with_times
from .spec import Plot

PAPER = 'paper'  # the legend's name of published values
MAX_GROUPS_ON_X = 6  # more names of groups do not fit on an x axis
ROW_HEIGHT, MARGIN = 0.2, 0.75  # inches, of figures with settings in rows
DIRECTIONS = dict(normalised='filter-normalised', raw='raw')
_SEED_STYLE = dict(linestyle='', marker='.', markersize=2.5)
_PAPER_MARK_STYLE = dict(colors='0.1', linestyle=':', linewidth=1.4)
_PAPER_LINE_STYLE = dict(linestyle=':', marker='', linewidth=1.1, alpha=0.8)


def study_figure(results: dict, plot: Plot) -> Figure | None:
    """Draw a study with a panel for each metric; None if there is none."""
    if plot.kind == 'landscape':
        return landscape_figure(results)
    summaries = [with_times(results, one) for one in results['settings']]
    metrics = [
        name
        for name in plot.metrics
        if any(name in one['mean'] for one in summaries)
    ]
    if not metrics:
        return None
    width = WIDTH if len(metrics) > 1 else WIDTH / 2
    groups = _groups(results, metrics)
    in_rows = plot.kind == 'points' and len(groups) > MAX_GROUPS_ON_X
    height = 1.2 + ROW_HEIGHT * len(groups) if in_rows else 2.9
    figure = new_figure(width, height)
    handles = {}
    panels = figure.subplots(1, len(metrics), squeeze=False, sharey=in_rows)[0]
    for axes, metric in zip(panels, metrics):
        if plot.kind == 'lines':
            handles.update(_draw_lines(axes, results, metric, plot))
        elif in_rows:  # there are too many names for an x axis
            handles.update(_draw_points(axes, results, metric, groups, True))
            axes.margins(x=0.1)
            _name_rows(axes, groups)
        else:
            handles.update(_draw_columns(axes, results, metric))
        axes.set_title(find_metric(metric).title)
        axes.set_xlabel('' if in_rows else plot.xlabel)
        axes.grid(axis='x' if in_rows else 'y', alpha=0.3)
        axes.set_axisbelow(True)
    if in_rows:
        panels[0].set_ylabel(plot.xlabel)
    legend_below(figure, list(handles.values()), width)
    return figure


def difference_figure(results: dict, metrics: Sequence[str]) -> Figure | None:
    """Draw the paired differences of all settings from the baseline.

    A mark is filled if its interval excludes zero. It is empty if the setting
    is level, or if one seed gives no interval. The figure is None if no
    difference has an interval.
    """
    compared = [one for one in results['settings'] if one.get('difference')]
    differences = [one['difference']['metrics'] for one in compared]
    metrics = [
        name
        for name in metrics
        if any(name in one and one[name]['interval'] for one in differences)
    ]
    if not metrics:
        return None
    figure = new_figure(WIDTH, MARGIN + ROW_HEIGHT * len(compared))
    panels = figure.subplots(1, len(metrics), squeeze=False, sharey=True)[0]
    series = _series(results)
    for axes, metric in zip(panels, metrics):
        axes.axvline(0, color='0.4', linewidth=0.8)
        for row, (setting, values) in enumerate(zip(compared, differences)):
            if metric in values:
                style = model_style(series.index(setting['series']))
                _draw_difference(axes, row, values[metric], style)
        axes.set_title(find_metric(metric).title)
        axes.grid(axis='x', alpha=0.3)
        axes.set_axisbelow(True)
    for axes in panels:
        _name_rows(axes, [one['name'] for one in compared])
    figure.supxlabel(
        f'paired difference from {label(results["baseline"])}, with 95 % '
        'intervals; filled: does not hold zero',
        fontsize=7.5,
    )
    return figure


def _draw_difference(axes, row: int, difference: dict, style: dict) -> None:
    interval = difference['interval']
    if interval is not None:
        axes.hlines(row, *interval, color=style['color'], linewidth=1.1)
    is_filled = difference['level'] is False
    axes.plot(
        difference['mean'],
        row,
        color=style['color'],
        marker=style['marker'],
        markersize=4.5,
        markerfacecolor=style['color'] if is_filled else 'white',
    )


def landscape_figure(results: dict) -> Figure | None:
    """Draw the accuracy around the weights as maps.

    There is a column for each setting and a row for each kind of directions.
    All maps share their colours and have nine contour lines. The figure is
    None if no setting has a landscape.
    """
    settings = [one for one in results['settings'] if 'landscape' in one]
    if not settings:
        return None
    kinds = [kind for kind in DIRECTIONS if kind in settings[0]['landscape']]
    size = min(2.2, (WIDTH - 0.8) / len(settings))
    figure = new_figure(size * len(settings) + 1.0, (size + 0.25) * len(kinds))
    panels = figure.subplots(
        len(kinds), len(settings), squeeze=False, sharex=True, sharey=True
    )
    tables = np.array(
        [[one['landscape'][kind] for one in settings] for kind in kinds]
    )
    limits = dict(vmin=tables.min(), vmax=max(tables.max(), tables.min() + 1))
    for kind, row, maps in zip(kinds, panels, tables):
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
            if kind is kinds[0]:
                axes.set_title(label(one['name'], 24))
            if one is settings[0]:
                axes.set_ylabel(f'{DIRECTIONS[kind]}\nsecond direction')
            if kind is kinds[-1]:
                axes.set_xlabel('first direction')
    bar = figure.colorbar(image, ax=panels, aspect=15 * len(kinds), pad=0.02)
    bar.set_label('corrupted accuracy (%)')
    bar.outline.set_visible(False)
    return figure


def _series(results: dict) -> list[str]:
    return list(dict.fromkeys(one['series'] for one in results['settings']))


def _series_points(
    results: dict, metric: str, series: str, published: bool
) -> list[tuple]:
    """x, mean and standard deviation of the settings of a series."""
    points = []
    for one in results['settings']:
        known = with_times(results, one)
        if published:
            known = dict(mean=one['paper'], std={})
        mean, std = known['mean'].get(metric), known['std'].get(metric)
        if one['series'] == series and mean is not None:
            points.append((one['x'], mean, std or 0.0))
    return points


def _draw_lines(
    axes, results: dict, metric: str, plot: Plot
) -> dict[str, Line2D]:
    """Draw a line for each series; settings without x span the whole axis."""
    handles = {}
    places = dict.fromkeys(one['x'] for one in results['settings'])
    xs = [x for x in places if x is not None]
    has_words = any(isinstance(x, str) for x in xs)

    def place(x):
        return xs.index(x) if has_words else x

    for i, series in enumerate(_series(results)):
        for published in (False, True):
            style = model_style(i)
            if published:
                style.update(_PAPER_LINE_STYLE)
            band = dict(color=style['color'], linewidth=0)
            points = _series_points(results, metric, series, published)
            spanning = [one for one in points if one[0] is None]
            for _, mean, std in spanning:
                axes.axhline(mean, **{**style, 'marker': ''})
                if std:
                    axes.axhspan(mean - std, mean + std, alpha=0.12, **band)
            placed = sorted(
                (place(one[0]), *one[1:])
                for one in points
                if one[0] is not None
            )
            if placed:
                x, mean, std = np.array(placed, float).T
                axes.plot(x, mean, **style)
                axes.fill_between(
                    x, mean - std, mean + std, alpha=0.15, **band
                )
            if points:
                name = f'{series}, {PAPER}' if published else series
                if not placed:
                    style['marker'] = ''
                handles[name] = Line2D([], [], label=label(name), **style)
    if plot.log:
        axes.set_xscale('log')
        axes.minorticks_off()
    if has_words or 0 < len(xs) <= 9:
        places = list(map(place, xs))
        axes.set_xticks(
            places,
            _names_that_fit(places, list(map(str, xs)), plot.log),
            rotation=30 if has_words and len(xs) > 4 else 0,
        )
    return handles


def _names_that_fit(places: list, names: list[str], is_log: bool) -> list[str]:
    """Blank those names of an axis that would overlap with another.

    Example:
        >>> _names_that_fit([0, 1, 20], ['0', '1', '20'], is_log=False)
        ['0', '', '20']
    """
    at = np.log(places) if is_log else np.array(places, float)
    at = (at - at.min()) / (np.ptp(at) or 1)
    fitting = [''] * len(names)
    for i in np.argsort(at):
        # a letter takes about 2 % of the width of a panel
        if all(
            not other
            or abs(at[i] - at[j]) >= 0.03 + 0.011 * len(names[i] + other)
            for j, other in enumerate(fitting)
        ):
            fitting[i] = names[i]
    return fitting


def _draw_columns(axes, results: dict, metric: str) -> dict[str, Line2D]:
    """Draw means, standard deviations and each seed's value, grouped by x."""
    groups = _groups(results, [metric])
    handles = _draw_points(axes, results, metric, groups)
    axes.margins(y=0.15)
    axes.set_xlim(-0.6, len(groups) - 0.4)
    crowded = len(groups) > 3
    axes.set_xticks(
        range(len(groups)),
        # slanted names must not wrap: their lines would overlap
        [label(name, 99 if crowded else 14) for name in groups],
        rotation=30 if crowded else 0,
        ha='right' if crowded else 'center',
        rotation_mode='anchor' if crowded else None,
    )
    return handles


def _name_rows(axes, names: list[str]) -> None:
    """Label rows with names, the first on top."""
    axes.set_yticks(range(len(names)), [label(name, 34) for name in names])
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.tick_params(axis='y', length=0)
    axes.locator_params(axis='x', nbins=4)


def _groups(results: dict, metrics: Sequence[str]) -> list[str]:
    """Groups of settings by x, if they have any of some metrics."""
    return list(
        dict.fromkeys(
            _group_name(one)
            for one in results['settings']
            if {*with_times(results, one)['mean'], *one['paper']}
            & set(metrics)
        )
    )


def _group_name(setting: dict) -> str:
    """A setting's x, or its own name if it has none."""
    return str(setting['name'] if setting['x'] is None else setting['x'])


def _draw_points(
    axes, results: dict, metric: str, groups: list[str], in_rows: bool = False
) -> dict[str, Line2D]:
    """Draw the settings of each group beside each other."""
    handles = {}
    members: dict[str, list[dict]] = {name: [] for name in groups}
    for one in results['settings']:
        if metric in {**with_times(results, one)['mean'], **one['paper']}:
            members[_group_name(one)].append(one)
    series = _series(results)
    width = 0.7 / max(map(len, members.values()))

    def point(at, value):
        return (value, at) if in_rows else (at, value)

    for place, settings in enumerate(members.values()):
        for i, one in enumerate(settings):
            style = model_style(series.index(one['series']))
            style['linestyle'] = ''
            at = place + (i - (len(settings) - 1) / 2) * width
            summary = with_times(results, one)
            mean = summary['mean'].get(metric)
            if mean is not None:
                std = summary['std'].get(metric)
                axes.errorbar(
                    *point(at, mean),
                    **{'xerr' if in_rows else 'yerr': std},
                    capsize=2.5,
                    **{**style, 'markersize': 5},
                )
                seeds = [
                    values[metric]
                    for values in one['seeds'].values()
                    if metric in values
                ]
                beside = at + (0.3 if in_rows else 0.16) * width
                axes.plot(
                    *point([beside] * len(seeds), seeds),
                    color=style['color'],
                    alpha=0.4,
                    **_SEED_STYLE,
                )
                handles[one['series']] = Line2D(
                    [], [], label=label(one['series']), **style
                )
            if metric in one['paper']:
                draw = axes.vlines if in_rows else axes.hlines
                ends = (at - width / 2, at + width / 2)
                draw(one['paper'][metric], *ends, **_PAPER_MARK_STYLE)
                handles[PAPER] = Line2D(
                    [], [], label=PAPER, color='0.1', linestyle=':'
                )
    return handles
