"""Shows the results of a benchmark as a table and as a figure."""

from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from rich.box import SIMPLE_HEAD
from rich.table import Table

from mmanchor.utils.files import whole_files

TITLES = {'train': 'training step', 'test': 'plain images'}
# These two of Okabe and Ito's colours differ for colour-blind readers.
OURS, NAIVE = '#0072b2', '#e69f00'
CONFIGS_PER_ROW = 3


def benchmark_table(result: dict, results: dict) -> Table:
    """Make a table of time, floor, throughput and memory of every case.

    Args:
        result (dict): The result of one config.
        results (dict): The result of the run, for its settings.
    """
    settings = results['settings']
    shape = '×'.join(map(str, result['image_shape']))
    table = Table(
        title=f'{result["backbone"]}, {settings["batch_size"]} images of '
        f'{shape}, {settings["device"]}'
        f'{", bfloat16" if settings["amp"] else ""}',
        caption='\n'.join(notes(result, settings)),
        caption_justify='left',
        box=SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
    )
    table.add_column('\ncase', no_wrap=True)
    for column in (
        'time\n× standard',
        '\n[IQR]',
        'floor\n×',
        'images\na second',
        'memory\n×',
    ):
        table.add_column(column, justify='right', no_wrap=True)
    for group, cases in result['groups'].items():
        table.add_row(f'[bold]{TITLES[group]}[/]')
        for case in cases.values():
            table.add_row(*_cells(case))
        table.add_section()
    return table


def _cells(case: dict) -> list[str]:
    ratio: dict[str, float] = case['time_ratio']
    return [
        f' {case["label"]}',
        f'{ratio["median"]:.2f}',
        f'\\[{ratio["low"]:.2f}, {ratio["high"]:.2f}]',
        f'{case["floor"]:.3f}',
        f'{case["images_per_second"]:.1f}',
        f'{case["memory_ratio"]:.2f}',
    ]


def notes(result: dict, settings: dict) -> list[str]:
    """Return the notes below a table, which say how to read it.

    Args:
        result (dict): The result of one config.
        settings (dict): The settings of the run.
    """
    lines = [
        f'Ratios within a round, median of {settings["rounds"]}.   '
        'floor: ratio of operations'
    ]
    adaptive = result['groups'].get('test', {}).get('adaptive')
    if adaptive:
        lines.append(
            f'adaptive used {adaptive["mean_references"]:.1f} references an '
            'image.'
        )
    if result['checkpoint'] is None:
        lines.append(
            'Weights are untrained'
            + (', so that number says nothing.' if adaptive else '.')
        )
    elif adaptive and settings['data'] == 'noise':
        lines.append('Images are noise, so that number says nothing.')
    return lines


def draw_benchmark(results: dict, path: str) -> None:
    """Draw the ratio of each case's time to the standard case's.

    Args:
        results (dict): The result of the run.
        path (str): The PNG file to write.
    """
    configs = results['configs']
    rows = -(-len(configs) // CONFIGS_PER_ROW)
    columns = -(-len(configs) // rows)
    height = 0.34 * max(len(_rows(result)) for result in configs) + 0.9
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
    for axes, result in zip(panels, configs):
        _draw_config(axes, result, limits)
    for axes in panels[len(configs) :]:
        axes.set_visible(False)
    settings = results['settings']
    trained = any(result['checkpoint'] for result in configs)
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


def _rows(result: dict) -> list[tuple[str, dict]]:
    """Return labels and cases from top to bottom.

    The title of a group is a row with an empty case.
    """
    rows: list[tuple[str, dict]] = []
    for group, cases in result['groups'].items():
        rows.append((TITLES[group], {}))
        rows += [
            (_label(case), case)
            for name, case in cases.items()
            if name != 'standard'
        ]
    return rows


def _label(case: dict) -> str:
    count = case.get('mean_references')
    return case['label'] + (f', mean {count:.1f}' if count else '')


def _draw_config(axes, result: dict, limits: tuple[float, float]) -> None:
    rows = _rows(result)
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
            end = case['floor']  # Put the label behind the mark of the floor.
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
    shape = '×'.join(map(str, result['image_shape'][1:]))
    axes.set_title(
        f'{Path(result["config"]).stem}, {shape} px',
        loc='left',
        fontsize='small',
    )


def _limits(configs: list[dict]) -> tuple[float, float]:
    """Return the limits of the horizontal axis, which all panels share."""
    values = [
        value
        for result in configs
        for _, case in _rows(result)
        if case
        for value in (*case['time_ratio'].values(), case['floor'])
    ]
    low, high = min(0.95, *values), max(2.0, *values)
    return low / 1.05, high * (high / low) ** 0.25  # Leave room for labels.
