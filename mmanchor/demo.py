"""The demo: three models trained on real digits and compared."""

import copy
import os
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from mmengine.config import Config
from mmengine.dataset import default_collate
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from torch import nn
from torch.utils.benchmark import timer
from torch.utils.data import Dataset

from .engine.launch import build_runner
from .functional import anchor
from .suite.candidates import Candidate, named
from .suite.cli import measure_all
from .suite.figures.style import start_at_zero
from .suite.results import Point, SuiteResults
from .suite.spec import Settings, load_suite
from .utils.config import CONFIG_DIR
from .utils.console import progress_bars
from .utils.files import whole_files


def step_time_ratios(
    models: Sequence[nn.Module], batch: dict, rounds: int = 40, warmup: int = 5
) -> list[float]:
    """Measure a training step of each model relative to the first model.

    Models take turns, so that other load on the machine affects all of them
    equally. The models are not changed.

    Args:
        models (Sequence[torch.nn.Module]): Classifiers of MMPretrain.
        batch (dict): A collated training batch.
        rounds (int): Number of rounds to measure. Defaults to 40.
        warmup (int): Number of rounds before these. Defaults to 5.

    Returns:
        List[float]: The median over rounds of the ratio to the first model's
        time in the same round; the first one is 1.
    """
    models = [copy.deepcopy(model).train() for model in models]
    optimizers = [
        OptimWrapper(torch.optim.SGD(model.parameters(), lr=1e-6))
        for model in models
    ]
    times: list[list[float]] = []
    for _ in range(warmup + rounds):
        times.append(
            [
                _time_step(model, optimizer, batch)
                for model, optimizer in zip(models, optimizers)
            ]
        )
    return [
        median(row[i] / row[0] for row in times[warmup:])
        for i in range(len(models))
    ]


def _time_step(model, optimizer, batch: dict) -> float:
    batch = copy.deepcopy(batch)
    start = timer()
    model.train_step(batch, optimizer)
    return timer() - start


def demo_table(results: dict) -> Table:
    """Make a table with accuracy, calibration and cost of each model.

    Args:
        results (dict): The content of ``results.json``.

    Returns:
        Table: A table for a terminal of 80 columns.
    """
    selected = SuiteResults(results)
    table = Table(
        title='ResNet-18 (width 16) on 500 held-out digits',
        caption='acc.: accuracy in %   corr.: mean over '
        f'{selected.corruption_words("Digits-C")}\n'
        'ECE: expected calibration error   spread: of the logits over '
        'references\nAUROC: of photographs against digits, by '
        'energy, in %\nK: references at test   '
        'step time: of training, relative to standard',
        caption_justify='left',
        box=SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
    )
    table.add_column('\nmodel', no_wrap=True)
    for column in (
        '\nK',
        'acc.\nclean',
        'acc.\ncorr.',
        'ECE\nclean',
        'ECE\ncorr.',
        'spread\ncorr.',
        '\nAUROC',
        'step\ntime',
    ):
        table.add_column(column, justify='right')
    for model in results['models']:
        corrupted = Point('Digits-C')
        energy = Point('Photographs', score='energy')
        full_name, name = model['name'], model_name(model)
        k = str(model['num_references'] or '–')
        table.add_row(
            name,
            k,
            *(
                _number(selected.value(full_name, point, metric), digits)
                for metric, digits in (('top1', 1), ('ece', 3))
                for point in (selected.clean, corrupted)
            ),
            _number(selected.value(full_name, corrupted, 'spread'), 2),
            _number(selected.value(full_name, energy, 'auroc'), 1, 100),
            _number(results['times']['train_step_ratio'][name], 2),
        )
    return table


def model_name(model: dict) -> str:
    """Remove the use of references from a model's name."""
    return model['name'].rpartition(', K')[0] or model['name']


def _number(value, digits: int, times: float = 1) -> str:
    return '–' if value is None else f'{times * value:.{digits}f}'


COLOURS = {
    'standard': '#6b6b6b',
    'anchored': '#4c72b0',
    'anchored, masked': '#dd5f32',
}


def draw_figure(
    rows: list[dict], model: nn.Module, dataset: Dataset, path: str
) -> None:
    """Draw the network's input, and accuracy and spread by severity.

    Args:
        rows (List[dict]): ``models`` of ``results.json``.
        model (torch.nn.Module): An anchored classifier with references.
        dataset (torch.utils.data.Dataset): Test images, of which three are
            shown.
        path (str): The PNG file to write.
    """
    figure = Figure(figsize=(12, 4), dpi=130, layout='constrained')
    FigureCanvasAgg(figure)
    left, right = figure.subfigures(1, 2, width_ratios=(1, 2.2))
    _draw_anchoring(left, model, dataset)
    accuracy, spread = right.subplots(1, 2)
    for row in rows:
        name = model_name(row)
        if row['num_references'] != 10:
            _draw_by_severity(accuracy, row, 'top1', name)
        else:
            _draw_by_severity(spread, row, 'spread', name)
    accuracy.set_title('Accuracy, %', loc='left')
    spread.set_title('Spread of logits over references', loc='left')
    for axes in (accuracy, spread):
        axes.set_xlabel('severity of corruption (0: clean)')
        axes.spines[['top', 'right']].set_visible(False)
        axes.grid(axis='y', alpha=0.3)
        axes.legend(frameon=False)
    spreads = [one for line in spread.lines for one in line.get_ydata()]
    start_at_zero([spread], spreads)
    with whole_files(Path(path).parent) as partial:
        figure.savefig(partial / Path(path).name, format='png')


def _draw_by_severity(axes, row: dict, figure: str, name: str) -> None:
    by_severity = row['shifts']['Digits-C']['by_severity']
    points = (row['clean']['figures'], *by_severity.values())
    axes.plot(
        [point[figure] for point in points],
        marker='o',
        color=COLOURS[name],
        label=name,
    )


def _draw_anchoring(figure, model: nn.Module, dataset: Dataset) -> None:
    batch = default_collate([dataset[i] for i in range(3)])
    with torch.no_grad():
        images = model.data_preprocessor(batch)['inputs'].cpu()
        references = model.data_preprocessor(
            dict(inputs=model.reference_bank.images[: len(images)])
        )['inputs'].cpu()
    residuals = anchor(images, references).chunk(2, dim=1)[1]
    figure.suptitle('What the network sees', fontsize='large')
    for axes, *row in zip(
        figure.subplots(len(images), 3), images, references, residuals
    ):
        for ax, image, colours in zip(axes, row, ('gray', 'gray', 'RdBu_r')):
            limit = float(
                residuals.abs().max()
                if colours == 'RdBu_r'
                else images.abs().max()
            )
            ax.imshow(image[0], cmap=colours, vmin=-limit, vmax=limit)
            ax.set(xticks=[], yticks=[])
    for ax, name in zip(figure.axes, ('image x', 'reference r', 'x − r')):
        ax.set_title(name, fontsize='medium')


MODELS = {
    'standard': 'digits/resnet18-w16_digits.py',
    'anchored': 'digits/resnet18-w16_anchored_digits.py',
    'anchored, masked': 'digits/resnet18-w16_anchored-masked_digits.py',
}
PROTOCOLS = (
    dict(num_references=1),
    dict(num_references=10, protocol='mean'),
)


def run_demo(
    work_dir: str, max_epochs: int = 40, seed: int = 0, data_root: str = 'data'
) -> dict:
    """Train three models, and compare them on the digits suite.

    It prints a table, and writes the suite's report and a figure.

    Args:
        work_dir (str): The folder for checkpoints, report and ``demo.png``.
        max_epochs (int): Number of epochs to train. Defaults to 40.
        seed (int): Seed of the training. Defaults to 0.
        data_root (str): The folder for corrupted digits. Defaults to
            ``'data'``.

    Returns:
        dict: The content of ``results.json``. Another run gives the same,
        except for ``times``.
    """
    console = Console(emoji=False)
    runners: dict[str, Runner] = {}
    with progress_bars(console) as progress:
        for name in MODELS:
            runner = build_runner(_config(name, work_dir, max_epochs, seed))
            task = progress.add_task(f'train {name}')
            runner.register_hook(_ProgressHook(progress, task))
            runner.train()
            runners[name] = runner
        task = progress.add_task('time a training step', total=1)
        train_set = runners['standard'].train_dataloader.dataset
        batch = default_collate([train_set[i] for i in range(64)])
        ratios = step_time_ratios([r.model for r in runners.values()], batch)
        progress.advance(task)
    out = Path(work_dir)
    candidates = named(
        [
            one
            for name, runner in runners.items()
            for one in _candidates(name, runner)
        ]
    )
    results = measure_all(
        load_suite('digits', data_root),
        candidates,
        out,
        Settings(),
        console,
        about=dict(demo=dict(seed=seed, max_epochs=max_epochs)),
        times=dict(train_step_ratio=dict(zip(MODELS, ratios))),
    )
    console.print(demo_table(results))
    draw_figure(
        results['models'],
        runners['anchored, masked'].model,
        runners['standard'].val_dataloader.dataset,
        str(out / 'demo.png'),
    )
    for what, path in (('Figure', 'demo.png'), ('Report', 'report.html')):
        console.print(f'{what}: {out / path}', markup=False, soft_wrap=True)
    return results


def _candidates(name: str, runner: Runner) -> list[Candidate]:
    """Pair a trained model with each protocol, if it is anchored."""
    anchors = hasattr(runner.model, 'reference_bank')
    checkpoint = f'{runner.work_dir}/epoch_{runner.max_epochs}.pth'
    candidates = []
    for protocol in PROTOCOLS if anchors else ({},):
        cfg = copy.deepcopy(runner.cfg)
        if anchors:
            cfg.custom_hooks[0].update(protocol)
        candidates.append(Candidate(name, cfg, checkpoint, MODELS[name]))
    return candidates


def _config(name: str, work_dir: str, max_epochs: int, seed: int) -> Config:
    cfg = Config.fromfile(CONFIG_DIR / MODELS[name])
    cfg.work_dir = os.path.join(work_dir, Path(MODELS[name]).stem)
    cfg.experiment_name = f'{Path(MODELS[name]).stem}_demo'
    cfg.randomness = dict(seed=seed)
    cfg.log_level = 'ERROR'
    cfg.train_cfg.max_epochs = max_epochs
    cfg.train_cfg.val_interval = max_epochs
    cfg.param_scheduler[-1].end = max(max_epochs, 3)
    cfg.default_hooks.checkpoint = dict(
        type='CheckpointHook', interval=max_epochs
    )
    return cfg


class _ProgressHook(Hook):
    """Advances a progress bar during training."""

    def __init__(self, progress: Progress, task):
        self.progress = progress
        self.task = task

    def before_train(self, runner):
        self.progress.update(self.task, total=runner.max_iters)

    def after_train_iter(self, runner, *_, **__):
        self.progress.advance(self.task)
