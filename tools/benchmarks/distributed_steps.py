"""Times training steps of several processes: ``benchmark_ddp.py``."""

import json
import math
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing
from benchmark_cases import (
    LR_SCALE,
    ModelPair,
    build_model_pair,
    endless_batches,
)
from benchmark_settings import BenchmarkSettings
from mmengine.model import MMDistributedDataParallel
from mmengine.registry import init_default_scope
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from time_and_memory import quartiles, shuffled_rounds
from torch import nn
from torch.profiler import profile
from torch.utils.benchmark import timer

from mmanchor.diagnostics.plain_and_anchored import (
    build_optim_wrapper,
    fixed_seed,
    silenced_log,
)
from mmanchor.engine.cli import import_from_here
from mmanchor.utils.console import write_json
from mmanchor.utils.files import check_folder
from mmanchor.utils.provenance import (
    command_line,
    commit,
    device_name,
    versions,
)

VARIANTS = {
    'plain': (),
    'channels-last': ('channels-last',),
    'amp': ('amp',),
    'compile': ('compile',),
    'all': ('channels-last', 'amp', 'compile'),
}
Times = dict[str, list[float]]


def run_ddp_benchmark(
    config: str,
    settings: BenchmarkSettings,
    out: str,
    processes: int = 2,
    variants: Sequence[str] = ('plain',),
    options: dict | None = None,
) -> dict:
    """Time training steps of several processes, and count what they send.

    Each round takes a step of the standard and one of the anchored model, in
    a random order. A step ends when the last process has finished. Processor
    time is measured as well, because other programs on a busy machine do not
    change it. If ``settings.device`` is ``'cuda'``, each process uses a GPU
    of its own.

    Args:
        config (str): A plain or an anchored config; ``mmpretrain::`` and a
            path name one of MMPretrain's.
        settings (BenchmarkSettings): What is timed, and how often.
        out (str): Folder for ``benchmark_ddp.json``.
        processes (int): Number of processes. Defaults to 2.
        variants (Sequence[str]): Keys of ``VARIANTS``. If one fails, the
            table says why, and the others still run. Defaults to
            ``('plain', )``.
        options (dict, optional): Changes to the config. Defaults to None.

    Returns:
        dict: The content of ``benchmark_ddp.json``.

    Raises:
        ValueError: An argument is out of its range, ``out`` can't be written
            to, or the config has nothing to compare with.
    """
    _check_arguments(settings, processes, variants)
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
                result = json.loads(
                    Path(folder, 'result.json').read_text(encoding='utf-8')
                )
            except torch.multiprocessing.ProcessRaisedException as error:
                result = dict(error=str(error).strip().splitlines()[-1])
        results['variants'][variant] = result
        write_json(results, Path(out) / 'benchmark_ddp.json')
    console = Console(file=sys.stdout)
    console.print(ddp_table(results))
    return results


def _check_arguments(settings, processes, variants) -> None:
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
    unknown = sorted(set(variants) - set(VARIANTS))
    if unknown or not variants:
        raise ValueError(
            f'Expected --variants to be among {", ".join(VARIANTS)}, but got '
            f'{", ".join(unknown) or "none"}. Change them.'
        )


def _process(rank, processes, folder, config, settings, variant, options):
    """Run one of the processes; the first writes ``result.json``."""
    import_from_here()
    init_default_scope('mmpretrain')
    on_gpu = settings.device == 'cuda'
    device = torch.device(settings.device, rank if on_gpu else None)
    if on_gpu:
        torch.cuda.set_device(device)
    else:
        torch.set_num_threads(1)  # Processes must not share their cores.
    dist.init_process_group(
        'nccl' if on_gpu else 'gloo',
        f'file://{folder}/store',
        rank=rank,
        world_size=processes,
    )
    with fixed_seed(settings.seed), silenced_log():
        pair = build_model_pair(config, settings, options=options)
        stem = [
            pair.anchored.get_submodule(name).weight
            for name in pair.anchored.widened_layers
        ]
        steps = ddp_steps(pair, settings, variant, device)
        seconds, cpu_seconds = _time_steps(steps, settings, device)
        result = dict(
            seconds=seconds,
            cpu_seconds=cpu_seconds,
            calls={name: communication(step) for name, step in steps.items()},
            element_size=stem[0].element_size() if stem else 4,
            widened_by=sum(weight.numel() // 2 for weight in stem),
        )
    for clock in ('seconds', 'cpu_seconds'):
        result[f'ratio_of_{clock}'] = quartiles(
            standard / anchored
            for standard, anchored in zip(*result[clock].values())
        )
    if rank == 0:
        Path(folder, 'result.json').write_text(
            json.dumps(result), encoding='utf-8'
        )
    dist.barrier()
    dist.destroy_process_group()


def ddp_steps(
    pair: ModelPair,
    settings: BenchmarkSettings,
    variant: str,
    device: torch.device,
) -> dict[str, Callable[[], None]]:
    """Build training steps of the standard and the anchored model in DDP.

    A step goes from the loader's batch to the optimizer's step, as in
    MMEngine's runner. Each step is run masked and not masked before it is
    returned, so that nothing is compiled later.

    Args:
        pair (ModelPair): Models, which are changed, and images.
        settings (BenchmarkSettings): Batch size and seed.
        variant (str): A key of ``VARIANTS``.
        device (torch.device): The device of this process.
    """
    steps = {}
    for name, model, cfg in (
        ('standard', pair.plain, pair.plain_cfg),
        ('anchored', pair.anchored, pair.cfg),
    ):
        step = _build_step(
            model.to(device).train(), cfg, pair, settings, variant, device
        )
        preprocessor = model.data_preprocessor
        mask_prob = getattr(preprocessor, 'mask_prob', 0.0)
        for preprocessor.mask_prob in (0.0, 1.0, mask_prob):
            step()
        steps[name] = step
    return steps


def _build_step(model: nn.Module, cfg, pair, settings, variant, device):
    options = VARIANTS[variant]
    layout = (
        torch.channels_last
        if 'channels-last' in options
        else torch.contiguous_format
    )
    model.to(memory_format=layout)
    if 'compile' in options:  # MMEngine compiles before it wraps, too.
        model.forward = torch.compile(model.forward)
    wrapped = MMDistributedDataParallel(
        model,
        device_ids=None if device.type == 'cpu' else [device.index],
        broadcast_buffers=False,
    )
    optimizer = build_optim_wrapper(wrapped, cfg, LR_SCALE)
    batches = endless_batches(
        pair.images,
        pair.anchored.head.num_classes,
        settings.batch_size,
        device.type == 'cuda',
        settings.seed,
    )

    def step():
        data = model.data_preprocessor(next(batches), training=True)
        data['inputs'] = data['inputs'].contiguous(memory_format=layout)
        with (
            torch.autocast(device.type, torch.bfloat16)
            if 'amp' in options
            else nullcontext()
        ):
            losses = wrapped(**data, mode='loss')
        loss, _ = model.parse_losses(losses)
        optimizer.update_params(loss)

    return step


def communication(step: Callable[[], None]) -> dict[str, list[int]]:
    """List what a step sends and receives, according to PyTorch's profiler.

    Args:
        step (Callable): A function without arguments, which every process
            calls.

    Returns:
        Dict[str, List[int]]: The number of elements of each call, in order,
        by the name of the collective.
    """
    with profile(record_shapes=True) as profiler:
        step()
    calls: dict[str, list[int]] = {}
    for event in profiler.events():
        backend, _, name = event.name.partition(':')
        if backend in ('gloo', 'nccl') and name:
            elements = sum(math.prod(shape) for shape in event.input_shapes)
            calls.setdefault(name, []).append(elements)
    return calls


def _time_steps(steps, settings, device) -> tuple[Times, Times]:
    """Return wall-clock and processor seconds, over all processes.

    All processes have the same seed, and so take steps in the same order.
    """
    times, cpu_times = ({name: [] for name in steps} for _ in range(2))
    rounds = settings.warmup + settings.rounds
    for index, name in shuffled_rounds(steps, rounds, settings.seed):
        seconds, cpu_seconds = _time_step(steps[name], device)
        if index >= settings.warmup:
            times[name].append(seconds)
            cpu_times[name].append(cpu_seconds)
    return times, cpu_times


def _time_step(step, device) -> tuple[float, float]:
    dist.barrier()
    start, cpu_start = timer(), time.process_time()
    step()
    durations = timer() - start, time.process_time() - cpu_start
    seconds, cpu_seconds = (
        torch.tensor(one, device=device) for one in durations
    )
    dist.all_reduce(seconds, dist.ReduceOp.MAX)
    dist.all_reduce(cpu_seconds)
    return seconds.item(), cpu_seconds.item()


def ddp_table(results: dict) -> Table:
    """Make a table of times, ratios and communication of every variant.

    Args:
        results (dict): The result of :func:`run_ddp_benchmark`.
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
    for variant, result in results['variants'].items():
        table.add_row(variant, *_cells(result))
    return table


def _cells(result: dict) -> list[str]:
    if 'error' in result:
        return ['–', escape(f'failed: {result["error"]}'), '–', '–', '–']
    size = result['element_size']
    (calls, total), (more_calls, more) = (
        (sum(map(len, calls.values())), size * sum(map(sum, calls.values())))
        for calls in result['calls'].values()
    )
    return [
        f'{1000 * statistics.median(result["seconds"]["standard"]):.1f}',
        _ratio(result['ratio_of_seconds']),
        _ratio(result['ratio_of_cpu_seconds']),
        f'{calls} calls, {total} bytes',
        f'{more_calls - calls} calls, {more - total} bytes',
    ]


def _ratio(spread: dict[str, float]) -> str:
    low, median, high = (spread[key] for key in ('low', 'median', 'high'))
    return f'{median:.3f} \\[{low:.3f}, {high:.3f}]'
