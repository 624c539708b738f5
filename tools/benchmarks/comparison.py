"""Times anchored against standard models: the work of ``benchmark.py``."""

import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from benchmark_cases import (
    Case,
    build_model_pair,
    check_predictions,
    mean_references,
    prediction_cases,
    training_cases,
)
from benchmark_report import benchmark_table, draw_benchmark
from benchmark_settings import BenchmarkSettings
from mmengine.registry import init_default_scope
from rich.console import Console
from time_and_memory import (
    CLOCK,
    MEMORY,
    held_bytes,
    operations,
    peak_bytes,
    quartiles,
    seconds,
    shuffled_rounds,
)

from mmanchor.diagnostics.plain_and_anchored import fixed_seed, silenced_log
from mmanchor.utils.console import progress_bars, write_json
from mmanchor.utils.files import check_folder
from mmanchor.utils.provenance import (
    command_line,
    commit,
    device_name,
    versions,
)

CASE_BUILDERS = {'train': training_cases, 'test': prediction_cases}


def run_benchmark(
    configs: Sequence[str],
    settings: BenchmarkSettings,
    out: str,
    checkpoints: Sequence[str] | None = None,
    options: dict | None = None,
    allow_code: bool = False,
) -> dict:
    """Time every case of every config, print tables and draw a figure.

    Each round runs every case of a group once, in a new random order. A
    case's ratio is to the standard case of the same round, so that other
    programs on the machine disturb both alike.

    Args:
        configs (Sequence[str]): Plain or anchored configs; ``mmpretrain::``
            and a path name one of MMPretrain's.
        settings (BenchmarkSettings): What is timed, and how often.
        out (str): Folder for ``benchmark.json`` and ``benchmark.png``.
        checkpoints (Sequence[str], optional): One checkpoint for each config.
            Defaults to None: untrained weights.
        options (dict, optional): Changes to the configs. Defaults to None.
        allow_code (bool): Run the code that checkpoints contain, if any.
            Defaults to False.

    Returns:
        dict: The content of ``benchmark.json``.

    Raises:
        ValueError: ``out`` can't be written to, the numbers of configs and
            checkpoints differ, a config has nothing to compare with, or the
            predictions of a case differ from its naive counterpart's.
    """
    check_folder(out, 'a folder', '--out')
    if checkpoints and len(checkpoints) != len(configs):
        raise ValueError(
            f'Expected one --checkpoint for each of {len(configs)} configs, '
            f'but got {len(checkpoints)}. Change their number.'
        )
    init_default_scope('mmpretrain')
    # Remember standard output, because `silenced_log` redirects it.
    console = Console(file=sys.stdout)
    results = _describe_run(settings, options)
    folder = Path(out)
    for config, checkpoint in zip(
        configs, checkpoints or [None] * len(configs)
    ):
        with fixed_seed(settings.seed), progress_bars(console) as progress:
            result = _benchmark_config(
                config, settings, checkpoint, options, allow_code, progress
            )
        results['configs'].append(result)
        write_json(results, folder / 'benchmark.json')
        console.print(benchmark_table(result, results))
    draw_benchmark(results, str(folder / 'benchmark.png'))
    console.print(
        f'Written: {folder / "benchmark.json"}, {folder / "benchmark.png"}',
        markup=False,
        soft_wrap=True,
    )
    return results


def _describe_run(settings, options) -> dict:
    """Return everything that is needed to repeat the run."""
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
        clock=CLOCK[settings.device],
        memory=MEMORY[settings.device],
        floor='operations of convolutions, matrix products and attention, by '
        'torch.utils.flop_counter, over those of the standard case',
        configs=[],
    )


def _benchmark_config(
    config, settings, checkpoint, options, allow_code, progress
) -> dict:
    with silenced_log():
        pair = build_model_pair(
            config, settings, checkpoint, options, allow_code
        )
    result = dict(
        config=str(config),
        backbone=type(pair.plain.backbone).__name__,
        image_shape=list(pair.images.shape[1:]),
        checkpoint=checkpoint,
        differences=check_predictions(pair, settings),
        groups={},
    )
    for group, build_cases in CASE_BUILDERS.items():
        if not settings.cases_of_group(group):
            continue
        cases = build_cases(pair, settings)
        task = progress.add_task(
            f'{result["backbone"][:16]}, {group}',
            total=len(cases) * (settings.warmup + settings.rounds + 1),
        )

        def advance():
            progress.advance(task)

        times = _time_cases(cases, settings, advance)
        result['groups'][group] = _measure(cases, times, settings, advance)
        del cases  # Free the models before those of the next group.
    if 'adaptive' in settings.cases_of_group('test'):
        result['groups']['test']['adaptive']['mean_references'] = (
            mean_references(pair, settings)
        )
    return result


def _time_cases(
    cases: dict[str, Case], settings, advance
) -> dict[str, list[float]]:
    """Return the seconds of each case in each round."""
    device = torch.device(settings.device)
    times: dict[str, list[float]] = {name: [] for name in cases}
    # Runs of about the same length are disturbed alike, and a processor that
    # rests between short runs is faster in them.
    repeats = {}
    for name, case in cases.items():
        case.call()
        once = seconds(case.call, device)
        repeats[name] = max(1, round(settings.min_seconds / once))
    rounds = settings.warmup + settings.rounds
    for index, name in shuffled_rounds(cases, rounds, settings.seed):
        duration = seconds(cases[name].call, device, repeats[name])
        if index >= settings.warmup:
            times[name].append(duration)
        advance()
    return times


def _measure(cases, times, settings, advance) -> dict[str, dict]:
    """Measure memory and operations, and compare with the standard case."""
    device = torch.device(settings.device)
    results = {}
    for name, case in cases.items():
        with torch.random.fork_rng(devices=[]):
            case.call()  # Fill the caches, which count as held memory.
            held = held_bytes(*case.owners)
            peak = peak_bytes(case.call, device)
            flops = operations(case.call)
        median_seconds = quartiles(times[name])['median']
        results[name] = dict(
            label=case.label,
            naive=case.naive,
            seconds=times[name],
            median_seconds=median_seconds,
            images_per_second=settings.batch_size / median_seconds,
            operations=flops,
            peak_bytes=held + peak,
            held_bytes=held,
        )
        advance()
    standard = results['standard']
    for result in results.values():
        ratios = [
            ours / theirs
            for ours, theirs in zip(result['seconds'], standard['seconds'])
        ]
        result['time_ratio'] = quartiles(ratios)
        result['throughput_ratio'] = quartiles(1 / ratio for ratio in ratios)
        result['floor'] = result['operations'] / standard['operations']
        result['memory_ratio'] = result['peak_bytes'] / standard['peak_bytes']
    return results
