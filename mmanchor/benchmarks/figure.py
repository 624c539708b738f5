"""The figure of a benchmark."""

from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from ..utils.files import whole_files
from .table import TITLES

# of Okabe and Ito's palette, told apart by the colour-blind
OURS, NAIVE = '#0072b2', '#e69f00'
PER_ROW = 3  # configs


def draw_benchmark(results: dict, path: str) -> None:
    """Draw the time of every case over that of the standard one.

    Args:
        results (dict): See :func:`~.benchmark.run_benchmark`.
        path (str): PNG file to write.
    """
    configs = results['configs']
    rows = -(-len(configs) // PER_ROW)
    columns = -(-len(configs) // rows)
    height = 0.34 * max(len(_rows(found)) for found in configs) + 0.9
    figure = Figure(
        figsize=(2 + 4.6 * columns, rows * height + 0.6),
        dpi=130,
        layout='constrained',
    )
    FigureCanvasAgg(figure)
    panels = figure.subplots(
        rows, columns, sharex=True, squeeze=False
    ).flatten()
    limits = _limits(configs)
    for axes, found in zip(panels, configs):
        _draw_config(axes, found, limits)
    for axes in panels[len(configs) :]:
        axes.set_visible(False)
    settings = results['settings']
    trained = any(found['checkpoint'] for found in configs)
    figure.suptitle(
        f'Time over that of the standard model: batch {settings["batch_size"]}'
        f'{", bfloat16" if settings["amp"] else ""}, {results["device"]}'
        f'{"" if trained else ", untrained weights"}',
        fontsize='medium',
    )
    figure.legend(
        handles=[
            Patch(facecolor=OURS, label='mmanchor'),
            Patch(
                facecolor='white', edgecolor=NAIVE, hatch='////', label='naive'
            ),
            Line2D(
                [],
                [],
                color='black',
                marker='|',
                linestyle='',
                markersize=11,
                markeredgewidth=2,
                label='floor: ratio of operations',
            ),
            Line2D(
                [], [], color='0.4', linewidth=1, label='interquartile range'
            ),
        ],
        loc='outside lower center',
        ncols=4,
        frameon=False,
        fontsize='small',
    )
    out = Path(path)
    with whole_files(out.parent) as partial:
        figure.savefig(partial / out.name)


def _rows(found: dict) -> list[tuple[str, dict]]:
    """From top to bottom; a group's title has no case."""
    rows: list[tuple[str, dict]] = []
    for group, cases in found['groups'].items():
        rows.append((TITLES[group], {}))
        rows += [
            (_label(case), case)
            for name, case in cases.items()
            if name != 'standard'
        ]
    return rows


def _label(case: dict) -> str:
    used = case.get('mean_references')
    return case['label'] + (f', mean {used:.1f}' if used else '')


def _draw_config(axes, found: dict, limits: tuple[float, float]) -> None:
    rows = _rows(found)
    for y, (_, case) in enumerate(rows):
        if not case:
            continue
        ratio = case['time_ratio']
        style = (
            dict(facecolor='white', edgecolor=NAIVE, hatch='////')
            if case['naive']
            else dict(facecolor=OURS, edgecolor=OURS)
        )
        axes.barh(
            y, ratio['median'] - 1, left=1, height=0.62, linewidth=1, **style
        )
        axes.plot(
            (ratio['low'], ratio['high']), (y, y), color='0.4', linewidth=1.6
        )
        axes.plot(
            case['floor'],
            y,
            marker='|',
            color='black',
            markersize=13,
            markeredgewidth=2,
        )
        end = max(ratio['high'], 1)
        wide = (limits[1] / limits[0]) ** 0.15
        if end / 1.02 < case['floor'] < end * wide:
            end = case['floor']  # the label goes behind it
        axes.annotate(
            f'{ratio["median"]:.2f}×',
            (end, y),
            (5, 0),
            textcoords='offset points',
            va='center',
            fontsize='small',
        )
    axes.axvline(1, color='black', linewidth=1)
    axes.set_xscale('log')
    axes.set_xlim(limits)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(
        FuncFormatter(lambda value, _: f'{value:g}×')
    )
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.tick_params(axis='x', labelbottom=True, labelsize='small')
    axes.set_yticks(
        range(len(rows)), [label for label, _ in rows], fontsize='small'
    )
    for tick, (_, case) in zip(axes.get_yticklabels(), rows):
        tick.set_fontweight('normal' if case else 'bold')
    axes.tick_params(axis='y', length=0)
    axes.set_ylim(len(rows) - 0.5, -0.6)
    axes.spines[['top', 'right', 'left']].set_visible(False)
    shape = '×'.join(map(str, found['image_shape'][1:]))
    axes.set_title(
        f'{Path(found["config"]).stem}, {shape} px',
        loc='left',
        fontsize='small',
    )


def _limits(configs: list[dict]) -> tuple[float, float]:
    """Of the axis that all share."""
    values = [
        value
        for found in configs
        for _, case in _rows(found)
        if case
        for value in (*case['time_ratio'].values(), case['floor'])
    ]
    low, high = min(0.95, *values), max(2.0, *values)
    return low / 1.05, high * (high / low) ** 0.25  # room for the labels
