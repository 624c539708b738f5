"""Make the tools' runs short, without a word of it on the command line."""

import copy
import os
import shutil
from dataclasses import fields
from pathlib import Path

import torch.multiprocessing
from mmengine.runner import Runner
from mmpretrain.datasets import CIFAR10

from mmanchor.benchmarks.settings import BenchmarkSettings
from mmanchor.datasets import Digits, PhotoPatches
from mmanchor.studies.cells import select_cells
from mmanchor.studies.spec import Landscape
from mmanchor.suite.spec import SuiteSet

LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')
DIGITS = dict(train=120, test=40)  # more than the 50 of a transduction
FEW = dict(
    batch_size=2,
    rounds=1,
    warmup=0,
    min_seconds=0,
    num_references=2,
    num_candidates=3,
    num_residuals=3,
    size=32,
)


def shorten(patch) -> None:
    """Cut runs down to an epoch, sets to a few images, benchmarks to a round.

    Of a study the first setting and seed is done.

    The one checkpoint has the name of the last that the config asks for.

    Args:
        patch (pytest.MonkeyPatch): What to change things by.
    """
    from_cfg, train = Runner.from_cfg, Runner.train
    digits, patches = Digits.load_data_list, PhotoPatches.load_data_list
    kinds, points = SuiteSet.all_kinds.fget, Landscape.__post_init__
    check, start = (
        BenchmarkSettings.__post_init__,
        torch.multiprocessing.start_processes,
    )

    def short_from_cfg(cfg):
        cfg = copy.deepcopy(cfg)
        asked = None
        if cfg.get('train_cfg'):
            asked = cfg.train_cfg.max_epochs
            cfg.train_cfg.update(max_epochs=1, val_interval=1)
            cfg.default_hooks.checkpoint.interval = 1
        for name in LOADERS:
            if cfg.get(name):
                cfg[name].update(num_workers=0, persistent_workers=False)
        runner = from_cfg(cfg)
        runner.asked_epochs = asked
        return runner

    def short_train(runner):
        model = train(runner)
        folder = Path(runner.work_dir)
        if (folder / 'epoch_1.pth').is_file():
            shutil.copy(
                folder / 'epoch_1.pth',
                folder / f'epoch_{runner.asked_epochs}.pth',
            )
        return model

    def few_patches(dataset):
        dataset.count = min(dataset.count, 30)
        return patches(dataset)

    def few_points(landscape):
        points(landscape)
        object.__setattr__(landscape, 'points', 3)  # it is frozen

    def few_rounds(settings):
        check(settings)
        for field in fields(settings):
            if field.name in FEW:
                setattr(settings, field.name, FEW[field.name])

    patch.setattr(Runner, 'from_cfg', staticmethod(short_from_cfg))
    patch.setattr(Runner, 'train', short_train)
    patch.setattr(
        Digits,
        'load_data_list',
        lambda dataset: digits(dataset)[: DIGITS[dataset.split]],
    )
    patch.setattr(PhotoPatches, 'load_data_list', few_patches)
    patch.setattr(SuiteSet, 'all_kinds', property(lambda one: kinds(one)[:2]))
    patch.setattr(CIFAR10, '_check_integrity', lambda dataset: True)
    patch.setattr(BenchmarkSettings, '__post_init__', few_rounds)
    # processes that have all imported already
    patch.setattr(
        torch.multiprocessing,
        'spawn',
        lambda *args, **kwargs: start(*args, **kwargs, start_method='fork'),
    )
    patch.setattr(
        'mmanchor.suite.report_files.draw_all', lambda results, folder: []
    )
    patch.setattr(
        'mmanchor.studies.cli.select_cells',
        lambda cells, only: select_cells(cells, only)[:1],
    )
    patch.setattr(Landscape, '__post_init__', few_points)
    patch.setattr(os, 'cpu_count', lambda: 1)
