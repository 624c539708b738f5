"""Standard against anchored, side by side: ``tools/benchmark.py``."""

import random
import statistics
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from mmengine.registry import init_default_scope
from rich.console import Console

from ..diagnostics.backbone_check import fixed_seed, silenced_log
from ..engine.run_checks import check_folder
from ..utils.console import progress_bars, write_json
from ..utils.provenance import command_line, commit, device_name, versions
from ..utils.timing import (
    CLOCKS,
    MEMORY,
    held_bytes,
    operations,
    peak_bytes,
    seconds,
)
from .figure import draw_benchmark
from .inference import Case, check_answers, inference_cases, mean_references
from .settings import BenchmarkSettings
from .setup import set_up
from .table import benchmark_table
from .training import training_cases

MAKERS = {'train': training_cases, 'test': inference_cases}


def run_benchmark(
    configs: Sequence[str],
    settings: BenchmarkSettings,
    out: str,
    checkpoints: Sequence[str] | None = None,
    options: dict | None = None,
    allow_code: bool = False,
) -> dict:
    """Time every case of every config; print tables, draw a figure.

    Each round runs every case of a group once, in an order of its own, and a
    case's ratio is to the standard case of the same round: what else the
    machine does disturbs all alike.

    Args:
        configs (Sequence[str]): Plain or anchored; ``mmpretrain::`` and a
            path for one of MMPretrain's.
        settings (BenchmarkSettings): What is timed, and how.
        out (str): Folder for ``benchmark.json`` and ``benchmark.png``.
        checkpoints (Sequence[str], optional): One a config. Defaults to
            None: untrained weights.
        options (dict, optional): Changes to the configs. Defaults to None.
        allow_code (bool): Run the code that checkpoints hold, if any.
            Defaults to False.

    Returns:
        dict: What ``benchmark.json`` has.

    Raises:
        ValueError: ``out`` can't be written to, there is not one checkpoint
            a config, a config can't be compared, or a case answers otherwise
            than its naive counterpart.
    """
    check_folder(out, 'a folder', '--out')
    if checkpoints and len(checkpoints) != len(configs):
        raise ValueError(
            f'Expected one --checkpoint for each of {len(configs)} configs, '
            f'but got {len(checkpoints)}. Change their number.'
        )
    init_default_scope('mmpretrain')
    console = Console(file=sys.stdout)  # not what `silenced_log` puts there
    results = _about(settings, options)
    folder = Path(out)
    for config, checkpoint in zip(
        configs, checkpoints or [None] * len(configs)
    ):
        with fixed_seed(settings.seed), progress_bars(console) as progress:
            found = _benchmark(
                config, settings, checkpoint, options, allow_code, progress
            )
        results['configs'].append(found)
        write_json(results, folder / 'benchmark.json')
        console.print(benchmark_table(found, results))
    draw_benchmark(results, str(folder / 'benchmark.png'))
    console.print(
        f'Written: {folder / "benchmark.json"}, {folder / "benchmark.png"}',
        markup=False,
        soft_wrap=True,
    )
    return results


def _about(settings, options) -> dict:
    """What it takes to run it again."""
    return dict(
        command=command_line(),
        settings=asdict(settings),
        options=dict(options or {}),
        device=device_name(settings.device),
        versions=versions(),
        commit=commit(),
        tf32=dict(
            convolutions=torch.backends.cudnn.allow_tf32,
            products=torch.backends.cuda.matmul.allow_tf32,
        ),
        clock=CLOCKS[settings.device],
        memory=MEMORY[settings.device],
        floor='operations of convolutions, matrix products and attention, by '
        'torch.utils.flop_counter, over those of the standard case',
        configs=[],
    )


def _benchmark(
    config, settings, checkpoint, options, allow_code, progress
) -> dict:
    with silenced_log():
        setup = set_up(config, settings, checkpoint, options, allow_code)
    found = dict(
        config=str(config),
        backbone=type(setup.plain.backbone).__name__,
        image_shape=list(setup.images.shape[1:]),
        checkpoint=checkpoint,
        differences=check_answers(setup, settings),
        groups={},
    )
    order = random.Random(settings.seed)
    for group, make in MAKERS.items():
        if not settings.of_group(group):
            continue
        cases = make(setup, settings)
        task = progress.add_task(
            f'{found["backbone"][:16]}, {group}',
            total=len(cases) * (settings.warmup + settings.rounds + 1),
        )

        def advance():
            progress.advance(task)

        times = _time(cases, settings, order, advance)
        found['groups'][group] = _measured(cases, times, settings, advance)
        del cases  # the models of one group are enough to hold
    if 'adaptive' in settings.of_group('test'):
        found['groups']['test']['adaptive']['mean_references'] = (
            mean_references(setup, settings)
        )
    return found


def _time(
    cases: dict[str, Case], settings, order, advance
) -> dict[str, list[float]]:
    device = torch.device(settings.device)
    times: dict[str, list[float]] = {name: [] for name in cases}
    # alike long runs meet alike clocks, caches and neighbours
    repeats = {}
    for name, case in cases.items():
        case.work()
        once = seconds(case.work, device)
        repeats[name] = max(1, round(settings.min_seconds / once))
    for index in range(settings.warmup + settings.rounds):
        names = list(cases)
        order.shuffle(names)
        for name in names:
            taken = seconds(cases[name].work, device, repeats[name])
            if index >= settings.warmup:
                times[name].append(taken)
            advance()
    return times


def _measured(cases, times, settings, advance) -> dict[str, dict]:
    device = torch.device(settings.device)
    measured = {}
    for name, case in cases.items():
        with torch.random.fork_rng(devices=[]):
            case.work()  # so that what is kept between runs is there
            held = held_bytes(*case.holders)
            peak = peak_bytes(case.work, device)
            flops = operations(case.work)
        middle = statistics.median(times[name])
        measured[name] = dict(
            label=case.label,
            naive=case.naive,
            seconds=times[name],
            median_seconds=middle,
            images_per_second=settings.batch_size / middle,
            operations=flops,
            peak_bytes=held + peak,
            held_bytes=held,
        )
        advance()
    standard = measured['standard']
    for found in measured.values():
        ratios = [
            ours / theirs
            for ours, theirs in zip(found['seconds'], standard['seconds'])
        ]
        found['time_ratio'] = _spread(ratios)
        found['throughput_ratio'] = _spread([1 / ratio for ratio in ratios])
        found['floor'] = found['operations'] / standard['operations']
        found['memory_ratio'] = found['peak_bytes'] / standard['peak_bytes']
    return measured


def _spread(values: list[float]) -> dict[str, float]:
    """Median and quartiles."""
    if len(values) == 1:
        values = values * 2
    low, middle, high = statistics.quantiles(values, n=4, method='inclusive')
    return dict(median=middle, low=low, high=high)
