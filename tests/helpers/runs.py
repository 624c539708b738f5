"""A run on a few digits that takes a second: fixtures for conftest files."""

import copy
import functools

import pytest
from mmengine.config import Config
from mmengine.runner import Runner

from mmanchor import CONFIG_DIR

read_once = functools.cache(Config.fromfile)


def config_maker(folder):
    """What makes configs of short runs, which share a work dir."""

    def make(
        name='anchored-masked_', epochs=4, validate_every=4, **options
    ) -> Config:
        cfg = copy.deepcopy(
            read_once(CONFIG_DIR / f'digits/resnet18-w16_{name}digits.py')
        )
        cfg.merge_from_dict(
            {
                'work_dir': str(folder / 'work'),
                'log_level': 'ERROR',
                'model.backbone.stem_channels': 8,
                'model.backbone.base_channels': 8,
                'model.head.in_channels': 64,
                'train_dataloader.batch_size': 16,
                'train_dataloader.dataset.indices': 50,  # 16, 16, 16 and 2
                'val_dataloader.dataset.indices': 40,
                'test_dataloader.dataset.indices': 40,
                'train_cfg.max_epochs': epochs,
                'train_cfg.val_interval': validate_every,
                'param_scheduler.1.end': 4,
                'default_hooks.checkpoint.interval': 1,
                'default_hooks.checkpoint.max_keep_ckpts': 9,
                **options,
            }
        )
        cfg.experiment_name = f'{folder.name}_{make.count}'
        make.count += 1
        return cfg

    make.count = 0
    return make


@pytest.fixture
def small_config(tmp_path):
    """Make the config of a short run; one work dir a test."""
    return config_maker(tmp_path)


@pytest.fixture
def run(small_config):
    """Build a runner for a short run."""

    def make(name='anchored-masked_', **options) -> Runner:
        return Runner.from_cfg(small_config(name, **options))

    return make
