"""Python configs with ``read_base``, where a type is a class."""

from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner

from mmanchor.diagnostics.backbone_check import check_backbone
from mmanchor.engine import launch
from mmanchor.export.fold import fold_checkpoint
from mmanchor.export.onnx import export_checkpoint

BASE = """
from mmengine.dataset import DefaultSampler
from mmengine.optim import OptimWrapper
from mmpretrain.datasets import PackInputs
from mmpretrain.evaluation import Accuracy
from mmpretrain.models import (GlobalAveragePooling, ImageClassifier,
                               LinearClsHead, ResNet_CIFAR)
from torch.optim import SGD

from mmanchor.datasets import Digits

model = dict(
    type=ImageClassifier,
    backbone=dict(type=ResNet_CIFAR, depth=18, stem_channels=8,
                  base_channels=8),
    neck=dict(type=GlobalAveragePooling),
    head=dict(type=LinearClsHead, num_classes=10, in_channels=64))
data_preprocessor = dict(mean=[127.5] * 3, std=[64.] * 3)
train_dataloader = dict(
    batch_size=8,
    num_workers=0,
    dataset=dict(type=Digits, indices=16, pipeline=[dict(type=PackInputs)]),
    sampler=dict(type=DefaultSampler, shuffle=True))
val_dataloader = train_dataloader
val_evaluator = dict(type=Accuracy, topk=1)
val_cfg = dict()
test_dataloader = val_dataloader
test_evaluator = val_evaluator
test_cfg = dict()
train_cfg = dict(by_epoch=True, max_epochs=1)
optim_wrapper = dict(type=OptimWrapper, optimizer=dict(type=SGD, lr=0.01))
default_scope = 'mmpretrain'
log_level = 'ERROR'
"""
ANCHORED = """
from mmengine.config import read_base

with read_base():
    from .plain import *

from mmanchor.engine import KReferenceHook
from mmanchor.models import (AnchoredImageClassifier,
                             AnchoringDataPreprocessor)

model.update(type=AnchoredImageClassifier)
data_preprocessor.update(type=AnchoringDataPreprocessor, mask_prob=0.25)
custom_hooks = [dict(type=KReferenceHook, num_references=2)]
"""


@pytest.fixture
def config_file(tmp_path):
    (tmp_path / 'plain.py').write_text(BASE)
    path = tmp_path / 'anchored.py'
    path.write_text(ANCHORED)
    return str(path)


def test_it_trains_and_tests_with_our_tools(config_file, tmp_path):
    arguments = ['--work-dir', str(tmp_path / 'work')]
    launch.train([config_file, *arguments, '--cfg-options', 'seed=0'])
    checkpoint = str(tmp_path / 'work/epoch_1.pth')
    saved = torch.load(checkpoint, weights_only=False)['state_dict']
    assert saved['backbone.conv1.weight'].shape[1] == 6
    assert saved['reference_bank.images'].shape[0] == 2
    metrics = launch.test(
        [config_file, checkpoint, *arguments, '--num-references', '1']
    )
    assert 'accuracy/top1' in metrics


def test_it_means_what_strings_mean(config_file):
    cfg = Config.fromfile(config_file)
    runner = Runner.from_cfg(
        Config(dict(cfg.to_dict(), work_dir=config_file[:-3]))
    )
    head = type(runner.model.head)
    assert head.__name__ == 'ReferenceMaskingLinearClsHead'


def test_amp_knows_a_wrapper_given_as_class(config_file, monkeypatch):
    seen = []
    monkeypatch.setattr(launch, 'build_runner', _stop_with(seen))
    with pytest.raises(StopIteration):
        launch.train([config_file, '--amp'])
    assert seen[0].optim_wrapper.type == 'AmpOptimWrapper'


def _stop_with(seen):

    def build_runner(cfg):
        seen.append(cfg)
        raise StopIteration

    return build_runner


@pytest.mark.parametrize('name', ['plain.py', 'anchored.py'])
def test_it_can_be_checked(config_file, name):
    report = check_backbone(Path(config_file).with_name(name), 16)
    assert report.failure is None
    assert report.stem == ['conv1']


def test_it_can_be_folded_and_exported(config_file, tmp_path):
    arguments = ['--work-dir', str(tmp_path / 'work')]
    launch.train([config_file, *arguments])
    checkpoint = str(tmp_path / 'work/epoch_1.pth')
    cfg = Config.fromfile(config_file)
    fold_checkpoint(cfg, checkpoint, tmp_path / 'folded')
    expected = launch.test(
        [config_file, checkpoint, *arguments, '--num-references', '1']
    )
    found = launch.test(
        [
            str(tmp_path / 'folded/folded.py'),
            str(tmp_path / 'folded/folded.pth'),
            *arguments,
        ]
    )
    assert found == expected and 'accuracy/top1' in found
    compared, _ = export_checkpoint(cfg, checkpoint, tmp_path / 'model.pt2')
    assert compared.difference < 1e-5
