"""The safety suite against the host's test loop, on the same images."""

import copy
import time
from pathlib import Path
from statistics import median, quantiles

import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from mmpretrain.registry import DATASETS, MODELS
from rich.console import Console

from ..datasets import CorruptedArrays
from ..suite.candidates import Candidate, Ready
from ..suite.images import ImageBatches
from ..suite.measure import FIGURES, OF_REFERENCES, measure
from ..suite.predict import predict_batch
from ..suite.settings import Settings
from ..suite.spec import Cell, Suite
from ..utils.config import type_name
from ..utils.console import (
    command_line,
    commit,
    device_name,
    progress_bars,
    versions,
    write_json,
)


def compare_with_runner(
    suite: Suite,
    candidate: Candidate,
    settings: Settings,
    rounds: int,
    out: Path,
) -> dict:
    """Time the suite and the host's test loop by turns, and compare figures.

    Args:
        suite (Suite): With a corrupted set; its kinds and severities are
            taken one after the other.
        candidate (Candidate): The model.
        settings (Settings): Batch size, workers and device of both.
        rounds (int): How many kinds and severities; all, if it is more.
        out (Path): ``.json`` file to write.

    Returns:
        dict: ``throughput_ratio`` of the suite over the loop, median and
        quartiles over rounds; ``model_share`` of the time of either;
        ``largest_difference`` between figures, relative; and what it takes
        to run it again.
    """
    cells = [cell for one in suite.shifts for cell in one.cells()]
    cells = cells[:: max(1, len(cells) // rounds)][:rounds]
    ready = candidate.load(settings.device)
    console = Console()
    _one_round(cells[0], candidate, ready, settings, -1, out.parent)  # warm-up
    with progress_bars(console) as bars:
        found = [
            _one_round(cell, candidate, ready, settings, i, out.parent)
            for i, cell in enumerate(bars.track(cells, description='rounds'))
        ]
    ratios = [one['loop'] / one['suite'] for one in found]
    results = dict(
        command=command_line(),
        device=device_name(settings.device),
        versions=versions(),
        commit=commit(),
        batch_size=settings.batch_size,
        workers=settings.workers,
        images_a_round=found[0]['images'],
        rounds=len(found),
        throughput_ratio=_spread(ratios),
        model_share=dict(
            suite=_spread([one['model'] / one['suite'] for one in found]),
            loop=_spread([one['model'] / one['loop'] for one in found]),
        ),
        overhead_ratio=_spread(
            [
                (one['loop'] - one['model'])
                / max(one['suite'] - one['model'], 1e-9)
                for one in found
            ]
        ),
        largest_difference=max(one['difference'] for one in found),
    )
    write_json(results, out)
    low, middle, high = results['throughput_ratio']
    console.print(
        f"Throughput over the host's test loop: {middle:.1f} "
        f"[{low:.1f}, {high:.1f}] times; the model's share of the time: "
        f"{results['model_share']['suite'][1]:.0%} of the suite's, "
        f"{results['model_share']['loop'][1]:.0%} of the loop's. Without "
        f'the model: {results["overhead_ratio"][1]:.0f} times.\n'
        'Largest relative difference between figures: '
        f'{results["largest_difference"]:.1e}.'
    )
    return results


def save_random(cfg: Config, path: Path) -> str:
    """Write the weights that a config's model starts with.

    Returns:
        str: The path.
    """
    cfg = copy.deepcopy(cfg)
    cfg.model.setdefault('data_preprocessor', cfg.get('data_preprocessor'))
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        model = MODELS.build(cfg.model)
    torch.manual_seed(0)
    model.init_weights()
    torch.save(dict(state_dict=model.state_dict()), path)
    return str(path)


def _spread(values: list[float]) -> list[float]:
    """Lower quartile, median, upper quartile."""
    if len(values) < 2:
        return [values[0]] * 3
    low, _, high = quantiles(values, n=4, method='inclusive')
    return [low, median(values), high]


def _one_round(
    cell: Cell,
    candidate: Candidate,
    ready: Ready,
    settings: Settings,
    i: int,
    folder: Path,
) -> dict:
    start = time.perf_counter()
    batches = ImageBatches(
        cell, ready.pipeline, settings.batch_size, settings.workers
    )
    (ours,) = measure(ready, batches, settings.device)
    suite_time = time.perf_counter() - start
    runner = _runner(cell, candidate, settings, i, folder)
    start = time.perf_counter()
    theirs = runner.test_loop.run()
    loop_time = time.perf_counter() - start
    theirs = {key.partition('/')[2]: value for key, value in theirs.items()}
    return dict(
        images=len(batches),
        suite=suite_time,
        loop=loop_time,
        model=_model_time(ready, batches),
        difference=max(
            abs(ours.figures[key] - value) / max(abs(value), 1e-12)
            for key, value in theirs.items()
        ),
    )


def _runner(cell, candidate, settings, i, folder) -> Runner:
    cfg = copy.deepcopy(candidate.cfg)
    cfg.load_from = candidate.checkpoint
    cfg.work_dir = str(folder / 'loop')
    cfg.log_level = 'ERROR'
    cfg.experiment_name = f'loop_{time.time_ns()}_{i}'
    loader = cfg.test_dataloader
    pipeline = loader.dataset.pipeline
    dataset = dict(cell.dataset)
    if type_name(pipeline[0]).startswith('LoadImage') and issubclass(
        DATASETS.get(dataset['type']), CorruptedArrays
    ):
        pipeline = pipeline[1:]
        dataset['channel_order'] = 'bgr'  # as files are read
    loader.dataset = dict(dataset, pipeline=[*cell.steps, *pipeline])
    loader.batch_size = settings.batch_size
    loader.num_workers = settings.workers
    loader.persistent_workers = False
    cfg.test_evaluator = [
        config
        for config in FIGURES
        if candidate.hook or config['type'] not in OF_REFERENCES
    ]
    runner = Runner.from_cfg(cfg)
    runner.load_or_resume()
    runner.test_loop  # builds it, and the data set
    runner.call_hook('before_run')
    return runner


def _model_time(ready: Ready, batches: ImageBatches) -> float:
    """Of the model alone, with all images at hand."""
    images = list(batches)
    start = time.perf_counter()
    for batch in images:
        predict_batch(ready.model, batch)
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start
