"""A benchmark's result for one config, in the terminal."""

from rich.box import SIMPLE_HEAD
from rich.table import Table

TITLES = {'train': 'training step', 'test': 'plain images'}


def benchmark_table(found: dict, results: dict) -> Table:
    """Time, floor, throughput and memory of every case.

    Args:
        found (dict): One of ``results['configs']``.
        results (dict): See :func:`~.benchmark.run_benchmark`.
    """
    settings = results['settings']
    shape = '×'.join(map(str, found['image_shape']))
    table = Table(
        title=f'{found["backbone"]}, {settings["batch_size"]} images of '
        f'{shape}, {settings["device"]}'
        f'{", bfloat16" if settings["amp"] else ""}',
        caption='\n'.join(notes(found, settings)),
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
    for group, cases in found['groups'].items():
        table.add_row(f'[bold]{TITLES[group]}[/]')
        for case in cases.values():
            table.add_row(*cells(case))
        table.add_section()
    return table


def cells(case: dict) -> list[str]:
    """One for each column."""
    ratio: dict[str, float] = case['time_ratio']
    return [
        f' {case["label"]}',
        f'{ratio["median"]:.2f}',
        f'\\[{ratio["low"]:.2f}, {ratio["high"]:.2f}]',
        f'{case["floor"]:.3f}',
        f'{case["images_per_second"]:.1f}',
        f'{case["memory_ratio"]:.2f}',
    ]


def notes(found: dict, settings: dict) -> list[str]:
    """What has to be known to read the table."""
    lines = [
        f'Ratios within a round, median of {settings["rounds"]}.   '
        'floor: ratio of operations'
    ]
    used = found['groups'].get('test', {}).get('adaptive')
    if used:
        lines.append(
            f'adaptive used {used["mean_references"]:.1f} references an image.'
        )
    if found['checkpoint'] is None:
        lines.append(
            'Weights are untrained'
            + (', so that number says nothing.' if used else '.')
        )
    elif used and settings['data'] == 'noise':
        lines.append('Images are noise, so that number says nothing.')
    return lines
