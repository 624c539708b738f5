"""Standard against anchored where several processes train together."""

import json
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing
from mmengine.registry import init_default_scope
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ..diagnostics.backbone_check import fixed_seed, silenced_log
from ..engine.cli import import_from_here
from ..engine.run_checks import check_folder
from ..utils.console import write_json
from ..utils.provenance import command_line, commit, device_name, versions
from .compare import _spread
from .ddp_step import VARIANTS, communication, ddp_steps
from .settings import BenchmarkSettings
from .setup import set_up

Times = dict[str, list[float]]


def run_ddp_benchmark(
    config: str,
    settings: BenchmarkSettings,
    out: str,
    processes: int = 2,
    variants: Sequence[str] = ('plain',),
    options: dict | None = None,
) -> dict:
    """Time steps of processes that share gradients, and what they share.

    Each round takes a step of the standard and one of the anchored model, in
    an order of its own; a step lasts until the last process is through. The
    time that processors work for it is noted too: other programs of a busy
    machine do not touch it. GPUs are used, one each, if ``settings.device``
    says so.

    Args:
        config (str): Plain or anchored; ``mmpretrain::`` and a path for one
            of MMPretrain's.
        settings (BenchmarkSettings): What is timed, and how.
        out (str): Folder for ``benchmark_ddp.json``.
        processes (int): How many. Defaults to 2.
        variants (Sequence[str]): Of ``VARIANTS``. One that does not run is
            told of, and the others go on. Defaults to ``('plain', )``.
        options (dict, optional): Changes to the config. Defaults to None.

    Returns:
        dict: What ``benchmark_ddp.json`` has.

    Raises:
        ValueError: An argument is out of range, ``out`` can't be written to,
            or the config can't be compared.
    """
    _check(settings, processes, variants)
    check_folder(out, 'a folder', '--out')
    results = dict(
        command=command_line(),
        settings=asdict(settings),
        config=str(config),
        options=dict(options or {}),
        processes=processes,
        device=device_name(settings.device),
        versions=versions(),
        commit=commit(),
        variants={},
    )
    for variant in variants:
        with tempfile.TemporaryDirectory() as folder:
            arguments = (processes, folder, config, settings, variant, options)
            try:
                torch.multiprocessing.spawn(_process, arguments, processes)
                found = json.loads(
                    Path(folder, 'found.json').read_text(encoding='utf-8')
                )
            except torch.multiprocessing.ProcessRaisedException as error:
                found = dict(error=str(error).strip().splitlines()[-1])
        results['variants'][variant] = found
        write_json(results, Path(out) / 'benchmark_ddp.json')
    console = Console(file=sys.stdout)
    console.print(ddp_table(results))
    return results


def _check(settings, processes, variants) -> None:
    if processes < 2:
        raise ValueError(
            'Expected --processes to be at least 2, but got '
            f'{processes}. Raise it.'
        )
    if settings.device == 'cuda' and torch.cuda.device_count() < processes:
        raise ValueError(
            f'Expected a GPU for each of {processes} processes, but got '
            f'{torch.cuda.device_count()}. Lower --processes.'
        )
    wrong = sorted(set(variants) - set(VARIANTS))
    if wrong or not variants:
        raise ValueError(
            f'Expected --variants to be among {", ".join(VARIANTS)}, but got '
            f'{", ".join(wrong) or "none"}. Change them.'
        )


def _process(rank, processes, folder, config, settings, variant, options):
    import_from_here()
    init_default_scope('mmpretrain')
    on_gpu = settings.device == 'cuda'
    device = torch.device(settings.device, rank if on_gpu else None)
    if on_gpu:
        torch.cuda.set_device(device)
    else:
        torch.set_num_threads(1)  # not in each other's way
    dist.init_process_group(
        'nccl' if on_gpu else 'gloo',
        f'file://{folder}/store',
        rank=rank,
        world_size=processes,
    )
    with fixed_seed(settings.seed), silenced_log():
        setup = set_up(config, settings, options=options)
        stem = [setup.anchored.get_submodule(name).weight
                for name in setup.anchored.widened_layers]  # yapf: disable
        steps = ddp_steps(setup, settings, variant, device)
        seconds, cpu_seconds = _time(steps, settings, device)
        found = dict(
            seconds=seconds,
            cpu_seconds=cpu_seconds,
            calls={name: communication(step) for name, step in steps.items()},
            element_size=stem[0].element_size() if stem else 4,
            widened_by=sum(weight.numel() // 2 for weight in stem),
        )
    for clock in ('seconds', 'cpu_seconds'):
        found[f'ratio_of_{clock}'] = _spread(
            [
                standard / anchored
                for standard, anchored in zip(*found[clock].values())
            ]
        )
    if rank == 0:
        Path(folder, 'found.json').write_text(
            json.dumps(found), encoding='utf-8'
        )
    dist.barrier()
    dist.destroy_process_group()


def _time(steps, settings, device) -> tuple[Times, Times]:
    """Wall-clock seconds, and those of the processors, of all processes."""
    times, cpu_times = ({name: [] for name in steps} for _ in range(2))
    order = random.Random(settings.seed)  # the same on all processes
    for index in range(settings.warmup + settings.rounds):
        names = list(steps)
        order.shuffle(names)
        for name in names:
            taken, of_cpu = _seconds(steps[name], device)
            if index >= settings.warmup:
                times[name].append(taken)
                cpu_times[name].append(of_cpu)
    return times, cpu_times


def _seconds(step, device) -> tuple[float, float]:
    _settle(device)
    dist.barrier()
    start, cpu_start = time.perf_counter(), time.process_time()
    step()
    _settle(device)
    taken, of_cpu = (
        torch.tensor(seconds, device=device)
        for seconds in (
            time.perf_counter() - start,
            time.process_time() - cpu_start,
        )
    )
    dist.all_reduce(taken, dist.ReduceOp.MAX)
    dist.all_reduce(of_cpu)
    return taken.item(), of_cpu.item()


def _settle(device) -> None:
    if device.type == 'cuda':
        torch.cuda.synchronize(device)


def ddp_table(results: dict) -> Table:
    """Time, ratio, and what is sent, of every variant.

    Args:
        results (dict): See :func:`run_ddp_benchmark`.
    """
    settings = results['settings']
    table = Table(
        title=f'{escape(os.path.basename(results["config"]))}, '
        f'{results["processes"]} processes of {settings["batch_size"]} '
        f'images, {settings["device"]}',
        caption='ms, sent: a standard step. ×: anchored over standard '
        f'within a round,\nmedian and quartiles of {settings["rounds"]}. '
        'more: what an anchored step sends more.',
        caption_justify='left',
        box=SIMPLE_HEAD,
    )
    for column in (
        'variant',
        'ms',
        'speed ×',
        'by CPU time ×',
        'sent',
        'more',
    ):
        table.add_column(column, justify='right' if table.columns else 'left')
    for variant, found in results['variants'].items():
        table.add_row(variant, *_cells(found))
    return table


def _cells(found: dict) -> list[str]:
    if 'error' in found:
        return ['–', escape(f'failed: {found["error"]}'), '–', '–', '–']
    size = found['element_size']
    (calls, total), (more_calls, more) = (
        (sum(map(len, calls.values())), size * sum(map(sum, calls.values())))
        for calls in found['calls'].values()
    )
    return [
        f'{1000 * statistics.median(found["seconds"]["standard"]):.1f}',
        _ratio(found['ratio_of_seconds']),
        _ratio(found['ratio_of_cpu_seconds']),
        f'{calls} calls, {total} bytes',
        f'{more_calls - calls} calls, {more - total} bytes',
    ]


def _ratio(spread: dict[str, float]) -> str:
    low, middle, high = (spread[key] for key in ('low', 'median', 'high'))
    return f'{middle:.3f} \\[{low:.3f}, {high:.3f}]'
