"""The main job of the README: three models on real digits, side by side."""
import os
from pathlib import Path
from typing import Callable, Dict, List

from mmengine.config import Config
from mmengine.dataset import default_collate
from mmengine.hooks import Hook
from mmpretrain.registry import DATASETS
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from torch.utils.data import Subset

from .. import CONFIG_DIR
from ..engine.launch import build_runner
from ..engine.output import progress_bars, write_json
from .demo_figure import draw_figure
from .predictions import collect_predictions
from .step_time import step_time_ratios

MODELS = {
    'standard': 'digits/resnet18-w16_digits.py',
    'anchored': 'digits/resnet18-w16_anchored_digits.py',
    'anchored, masked': 'digits/resnet18-w16_anchored-masked_digits.py',
}
PROTOCOLS = ((1, 'mean'), (10, 'mean'), (10, 'adaptive'))
SEVERITIES = (1, 2, 3, 4, 5)
# kind: severity -> transform of the 16x16 image
CORRUPTIONS: Dict[str, Callable[[int], dict]] = {
    'noise':
    lambda severity: dict(type='SeededGaussianNoise', std=18 * severity),
    'blur':
    lambda severity: dict(
        type='GaussianBlur', radius=0.28 * severity, prob=1.),
    'contrast':
    lambda severity: dict(
        type='Contrast',
        magnitude=-0.12 * severity,
        prob=1.,
        random_negative_prob=0.),
}


def run_demo(work_dir: str, max_epochs: int = 40, seed: int = 0) -> dict:
    """Train, test and compare the three models; print a table.

    Args:
        work_dir (str): Where checkpoints, ``results.json`` and ``demo.png``
            go.
        max_epochs (int): Epochs to train. Defaults to 40.
        seed (int): Seed of everything. Defaults to 0.

    Returns:
        dict: What ``results.json`` has. Run twice, all but the time ratios
        are the same.
    """
    console = Console()
    runners = {}
    with progress_bars(console) as progress:
        for name in MODELS:
            cfg = _config(name, work_dir, max_epochs, seed)
            runner = build_runner(cfg)
            task = progress.add_task(f'train {name}')
            runner.register_hook(_ProgressHook(progress, task))
            runner.train()
            runners[name] = runner
        test_sets = _test_sets(cfg)
        steps = len(test_sets) * (1 + (len(runners) - 1) * len(PROTOCOLS))
        task = progress.add_task('test all', total=steps)
        rows = [
            row for name, runner in runners.items() for row in _test(
                name, runner.model, test_sets, lambda: progress.advance(task))
        ]
        task = progress.add_task('time a training step', total=1)
        train_set = runners['standard'].train_dataloader.dataset
        batch = default_collate([train_set[i] for i in range(64)])
        ratios = step_time_ratios([r.model for r in runners.values()], batch)
        progress.advance(task)

    results = dict(
        seed=seed,
        max_epochs=max_epochs,
        models=rows,
        train_step_time_ratio=dict(zip(MODELS, ratios)))
    write_json(results, Path(work_dir) / 'results.json')
    console.print(_table(results))
    figure = Path(work_dir) / 'demo.png'
    masked = runners['anchored, masked']
    draw_figure(rows, masked.model, Subset(test_sets['clean'], range(3)),
                str(figure))
    console.print(f'Figure: {figure}', soft_wrap=True)
    return results


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
        type='CheckpointHook', interval=max_epochs)
    return cfg


def _test_sets(cfg: Config) -> dict:
    """The clean test set and one for each kind and severity."""
    dataset = cfg.test_dataloader.dataset
    resize, pack = dataset.pipeline

    def build(*steps):
        return DATASETS.build({**dataset, 'pipeline': [resize, *steps, pack]})

    sets = {
        (kind, severity): build(corruption(severity))
        for kind, corruption in CORRUPTIONS.items()
        for severity in SEVERITIES
    }
    return {'clean': build(), **sets}


def _test(name: str, model, test_sets: dict,
          advance: Callable[[], None]) -> List[dict]:
    anchors = hasattr(model, 'reference_bank')
    rows = []
    for k, protocol in PROTOCOLS if anchors else ((None, None), ):
        if anchors:
            model.reference_bank.use(k)
            model.protocol = protocol
        figures = {}
        for key, dataset in test_sets.items():
            found = collect_predictions(model, dataset)
            figures[key] = dict(
                accuracy=found.accuracy,
                ece=found.ece,
                spread=found.spread,
                used=found.mean_used)
            advance()
        rows.append(
            dict(
                name=name,
                num_references=k,
                protocol=protocol,
                clean=figures['clean'],
                corrupted=_mean([figures[key] for key in test_sets][1:]),
                by_severity=[
                    _mean([figures[kind, severity] for kind in CORRUPTIONS])
                    for severity in SEVERITIES
                ]))
    return rows


def _mean(figures: List[dict]) -> dict:
    return {
        key:
        None if figures[0][key] is None else sum(f[key] for f in figures) /
        len(figures)
        for key in figures[0]
    }


def _table(results: dict) -> Table:
    table = Table(
        title='ResNet-18 (width 16) on 500 held-out digits',
        caption='acc.: accuracy in %   corr.: mean over noise, blur and low '
        'contrast, five severities each\n≤10: as many of ten references as an '
        'image needs; used: how many\nECE: expected calibration error   '
        'spread: of the logits over references\nstep time: of training, over '
        'standard',
        caption_justify='left',
        box=SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True)
    table.add_column('model', no_wrap=True)
    for column in ('\nK', 'acc.\nclean', 'acc.\ncorr.', 'ECE\nclean',
                   'ECE\ncorr.', 'spread\nclean', 'spread\ncorr.',
                   'used\ncorr.', 'step\ntime'):
        table.add_column(column, justify='right')

    def number(value, digits):
        return '–' if value is None else f'{value:.{digits}f}'

    for row in results['models']:
        cells = [
            number(row[where][figure], digits)
            for figure, digits in (('accuracy', 1), ('ece', 3), ('spread', 2))
            for where in ('clean', 'corrupted')
        ]
        ratio = results['train_step_time_ratio'][row['name']]
        k = str(row['num_references'] or '–')
        table.add_row(row['name'],
                      '≤' + k if row['protocol'] == 'adaptive' else k, *cells,
                      number(row['protocol'] and row['corrupted']['used'], 1),
                      number(ratio, 2))
    return table


class _ProgressHook(Hook):
    """Moves a progress bar as training goes on."""

    def __init__(self, progress: Progress, task):
        self.progress = progress
        self.task = task

    def before_train(self, runner):
        self.progress.update(self.task, total=runner.max_iters)

    def after_train_iter(self, runner, *_, **__):
        self.progress.advance(self.task)
