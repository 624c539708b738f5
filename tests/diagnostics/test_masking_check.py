"""Models that say "don't know" in training alone are found out."""

import json
import runpy
import sys
from pathlib import Path

import pytest
import torch
from mmengine.registry import DefaultScope
from mmpretrain.registry import MODELS
from torch import nn

from mmanchor.diagnostics.masking_check import (
    TrainAndTestImages,
    measure_masked_answers,
)

TOOL = str(Path(__file__).parents[2] / 'tools/check_masking.py')


@MODELS.register_module()
class SeesReference(nn.Module):
    """Sure of class 0 as far as a norm layer shows it a reference."""

    def __init__(self, norm=True):
        super().__init__()
        self.norm = nn.BatchNorm2d(3) if norm else nn.Identity()
        if norm:  # of references; of what is blanked it is 0
            self.norm.running_mean.fill_(1.0)

    def forward(self, anchored):
        seen = self.norm(anchored[:, :3]).abs().mean((1, 2, 3))
        return (torch.stack([1000 * seen, *[0 * seen] * 9], 1),)


@pytest.fixture
def ask(small_config):

    def make(norm=True, batch_size=20, num_images=40, **preprocessor):
        cfg = small_config()
        cfg.model = dict(
            type='AnchoredImageClassifier',
            stem=[],
            image_channels=3,
            backbone=dict(type='SeesReference', norm=norm),
            head=dict(type='ClsHead'),
            data_preprocessor=dict(cfg.data_preprocessor, **preprocessor),
        )
        with DefaultScope.overwrite_default_scope('mmpretrain'):
            model = MODELS.build(cfg.model)
        images = TrainAndTestImages(cfg, num_images, batch_size, seed=0)
        return measure_masked_answers(model, images)

    return make


def entropies(found):
    return [
        (one.images, one.statistics, round(one.masked_entropy, 2))
        for one in found
    ]


def test_masked_batches_that_only_their_statistics_reveal_are_reported(ask):
    found = ask(mask_prob=1.0)
    assert entropies(found) == [
        ('training', 'of the batch', 1.0),
        ('test', 'of the batch', 1.0),
        ('test', 'running', 0.0),
        ('test', 'updated', 1.0),
    ]
    assert all(one.entropy < 0.01 for one in found)
    # sure of 0, and the first class where all are alike
    assert all(one.top1 == one.masked_top1 for one in found[1:])


def test_running_statistics_that_no_masked_batch_moved(ask):
    *_, running, updated = ask(mask_prob=0.0)
    assert running.statistics == 'running' and running.masked_entropy < 0.01
    assert updated.statistics == 'updated' and updated.masked_entropy < 0.01


def test_rows_that_are_masked_one_by_one_share_statistics(ask):
    found = ask(mask_by='sample', mask_prob=0.5)
    assert [(one.images, one.statistics) for one in found] == [
        ('training', 'of the batch'),
        ('test', 'of the batch'),
        ('test', 'running'),
    ]
    assert all(one.masked_entropy < 0.5 for one in found)


@pytest.mark.parametrize('mask_prob', [0.0, 1.0])
def test_where_no_batch_is_mixed_both_are_asked_apart(ask, mask_prob):
    found = ask(mask_by='sample', mask_prob=mask_prob)
    of_batches = ask(mask_by='batch', mask_prob=0.5)[:3]
    assert found == of_batches


def test_without_batch_norm_there_are_no_statistics(ask):
    assert entropies(ask(norm=False)) == [
        ('training', 'running', 1.0),
        ('test', 'running', 1.0),
    ]


def test_wrong_sizes(ask):
    with pytest.raises(ValueError, match='`batch_size` to be at least 2'):
        ask(batch_size=1)
    with pytest.raises(ValueError, match='at least 2 training images.* got 1'):
        ask(num_images=1)
    assert len(ask(batch_size=999)) == 4  # all in one batch


def test_a_config_without_a_training_set(small_config):
    cfg = small_config()
    cfg.train_dataloader = None
    with pytest.raises(ValueError, match='a `train_dataloader` in the config'):
        TrainAndTestImages(cfg, 40, 20, seed=0)


def test_the_tool_prints_and_writes(run, tmp_path, monkeypatch, capsys):
    runner = run(**{'train_cfg.max_epochs': 1})
    runner.train()
    checkpoint = tmp_path / 'work/epoch_1.pth'
    config, out = tmp_path / 'config.py', tmp_path / 'out.json'
    runner.cfg.dump(config)
    sizes = ['--images', 40, '--batch-size', 20]
    words = [TOOL, config, checkpoint, *sizes, '--out', out]
    monkeypatch.setattr(sys, 'argv', list(map(str, words)))
    written = []
    for _ in range(2):
        runpy.run_path(TOOL, run_name='__main__')
        written.append(json.loads(out.read_text()))
    assert written[0] == written[1]
    rows = written[0]['answers']
    assert [row['statistics'] for row in rows] == (
        ['of the batch'] * 2 + ['running', 'updated']
    )
    printed = capsys.readouterr().out
    assert f'{rows[2]["masked_entropy"]:.3f}' in printed
