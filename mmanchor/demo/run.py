"""The main job of the README: three models on real digits, side by side."""

import copy
import os
from pathlib import Path

from mmengine.config import Config
from mmengine.dataset import default_collate
from mmengine.hooks import Hook
from mmengine.runner import Runner
from rich.console import Console
from rich.progress import Progress

from ..engine.launch import build_runner
from ..suite.candidates import Candidate, named
from ..suite.cli import measure_all
from ..suite.settings import Settings
from ..suite.spec import load_suite
from ..utils.config import CONFIG_DIR
from ..utils.console import progress_bars
from .figure import draw_figure
from .step_time import step_time_ratios
from .table import demo_table

MODELS = {
    'standard': 'digits/resnet18-w16_digits.py',
    'anchored': 'digits/resnet18-w16_anchored_digits.py',
    'anchored, masked': 'digits/resnet18-w16_anchored-masked_digits.py',
}
PROTOCOLS = (
    dict(num_references=1),
    dict(num_references=10, protocol='adaptive'),
)


def run_demo(
    work_dir: str, max_epochs: int = 40, seed: int = 0, data_root: str = 'data'
) -> dict:
    """Train three models and compare them on the suite of the digits.

    Prints a table, and writes the suite's report and a figure.

    Args:
        work_dir (str): Where checkpoints, the report and ``demo.png`` go.
        max_epochs (int): Epochs to train. Defaults to 40.
        seed (int): Seed of everything. Defaults to 0.
        data_root (str): Where corrupted digits go. Defaults to ``'data'``.

    Returns:
        dict: What ``results.json`` has. Run twice, all but ``times`` is the
        same.
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
    """A trained model, with one reference and with as many as it takes."""
    anchors = hasattr(runner.model, 'reference_bank')
    checkpoint = f'{runner.work_dir}/epoch_{runner.max_epochs}.pth'
    found = []
    for protocol in PROTOCOLS if anchors else ({},):
        cfg = copy.deepcopy(runner.cfg)
        if anchors:
            cfg.custom_hooks[0].update(protocol)
        found.append(Candidate(name, cfg, checkpoint, MODELS[name]))
    return found


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
    """Moves a progress bar as training goes on."""

    def __init__(self, progress: Progress, task):
        self.progress = progress
        self.task = task

    def before_train(self, runner):
        self.progress.update(self.task, total=runner.max_iters)

    def after_train_iter(self, runner, *_, **__):
        self.progress.advance(self.task)
