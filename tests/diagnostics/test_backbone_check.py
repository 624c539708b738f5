import random
import re
import runpy
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch
from helpers.forked import run_forked
from mmengine.model import BaseModule
from mmpretrain.models import ResNet_CIFAR
from mmpretrain.registry import MODELS

from mmanchor import CONFIG_DIR
from mmanchor.diagnostics.backbone_check import check_backbone
from mmanchor.diagnostics.backbone_table import (
    summarise,
    table_row,
    terminal_table,
    write_markdown,
)
from mmanchor.diagnostics.plain_and_anchored import (
    image_size,
    plain_and_anchored,
)
from mmanchor.diagnostics.timm_matrix import TIMM_MATRIX

TOOL = Path(__file__).parents[2] / 'tools/check_backbone.py'


@MODELS.register_module()
class PeekingResNet(ResNet_CIFAR):
    """Adds something of the image behind the stem."""

    def forward(self, x):
        return tuple(out + x[:, :1].mean() for out in super().forward(x))


@MODELS.register_module()
class DetachedResNet(ResNet_CIFAR):
    """Doesn't train its stem, but says it does."""

    def forward(self, x):
        frozen = torch.no_grad()(self.conv1.forward)
        with mock.patch.object(self.conv1, 'forward', frozen):
            return super().forward(x)


@MODELS.register_module()
class ForgetfulResNet(ResNet_CIFAR):
    """Leaves a layer out of its checkpoints."""

    def state_dict(self, *args, **kwargs):
        weights = super().state_dict(*args, **kwargs)
        weights.pop('backbone.layer1.0.conv1.weight', None)
        return weights


@MODELS.register_module()
class CountingResNet(ResNet_CIFAR):
    """Answers by what it has seen, which no checkpoint tells."""

    seen = 0

    def forward(self, x):
        self.seen += self.training
        return tuple(out * (1 + self.seen) for out in super().forward(x))


@MODELS.register_module()
class DivergingResNet(ResNet_CIFAR):
    """Has no end in training."""

    def forward(self, x):
        return tuple(
            out / (0.0 if self.training else 1.0) for out in super().forward(x)
        )


@MODELS.register_module()
class NoisyResNet(ResNet_CIFAR):
    """Puts noise where the reference was masked."""

    def forward(self, x):
        return super().forward(x + self.training * torch.randn_like(x))


@MODELS.register_module()
class NormFirstResNet(ResNet_CIFAR):
    """Normalises the image before the stem."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.first = torch.nn.BatchNorm2d(3)

    def forward(self, x):
        return super().forward(self.first(x))


@MODELS.register_module()
class Linear(BaseModule):
    """Built for whatever channels it is told, by hand."""

    def __init__(self, channels=3):
        super().__init__()
        self.project = torch.nn.Linear(channels * 256, 64)

    def forward(self, x):
        return (self.project(x.flatten(1))[:, :, None, None],)


def test_a_plain_config_is_anchored_and_checked(plain_config):
    path = plain_config()
    report = check_backbone(path, size=16)
    assert report.failure is None
    assert (report.backbone, report.stem) == ('ResNet_CIFAR', ['conv1'])
    assert report.warm_start_error < 1e-5
    assert sorted(report.losses) == [0.0, 1.0]
    # 3 more channels for 8 kernels of 3x3
    plain, _ = plain_and_anchored(path)
    count = sum(p.numel() for p in MODELS.build(plain.model).parameters())
    assert report.extra_parameters == pytest.approx(100 * 3 * 8 * 9 / count)
    assert 0 < report.extra_flops < 5


def test_an_anchored_config_is_checked_unchanged(plain_config):
    path = CONFIG_DIR / 'digits/resnet18-w16_anchored-masked_digits.py'
    report = check_backbone(path, 16, options={'model.stem': ['conv1']})
    assert report.failure is None
    report = check_backbone(path, 16, options={'model.stem': ['nose']})
    assert report.failure.startswith('anchor it: ValueError: ')


@pytest.mark.parametrize(
    'backbone,failure',
    [
        ('PeekingResNet', 'warm-start it: .*was not widened.*stem='),
        ('DetachedResNet', 'train it: .*gradient in conv1, but got none'),
        ('ForgetfulResNet', 'warm-start it: .*differ by'),
        ('NoSuchNet', 'build the plain model: .*NoSuchNet'),
        (
            'CountingResNet',
            'save, load and predict: .*same predictions.*differ',
        ),
        ('DivergingResNet', 'train it: .*finite loss with mask_prob=0.0'),
        ('NoisyResNet', 'train it: .*residual half of conv1.*mask_prob=1.0'),
        (
            'NormFirstResNet',
            'run it anchored: RuntimeError.*stem=.*my-backbone',
        ),
    ],
)
def test_failures_are_reported(plain_config, backbone, failure):
    report = check_backbone(plain_config(backbone), size=16)
    assert re.search(failure, report.failure)


@pytest.mark.parametrize(
    'part,failure',
    [
        ('neck', 'run the plain model: '),
        ('head', 'train it: ValueError: Expected a `head`'),
    ],
)
def test_failures_of_the_plain_model_are_not_blamed_on_anchoring(
    plain_config, part, failure
):
    path = plain_config(more=f'model.update({part}=None)')
    assert check_backbone(path, size=16).failure.startswith(failure)


def test_a_backbone_built_for_2c_channels_by_hand(plain_config):
    more = """
model.update(type='AnchoredImageClassifier', stem=[], image_channels=3,
             backbone=dict(type='Linear', channels=6))
data_preprocessor.update(type='AnchoringDataPreprocessor')
"""
    report = check_backbone(plain_config(more=more), size=16)
    assert report.failure is None
    assert report.warm_start_error is None and report.losses
    assert table_row(report)[2:4] == ['built for 2C channels', 'refused']


def test_a_backbone_of_one_s_own_is_imported(plain_config, tmp_path):
    (tmp_path / 'own_net.py').write_text(
        'from mmpretrain.models import ResNet_CIFAR\n'
        'from mmpretrain.registry import MODELS\n'
        'MODELS.register_module(name="OwnNet", module=ResNet_CIFAR)\n'
    )
    path = plain_config(
        'OwnNet', more="custom_imports = dict(imports='own_net')"
    )
    status, printed = run_forked(
        TOOL, path, '--size', 16, output=tmp_path / 'printed', cwd=tmp_path
    )
    assert 'ResNet_CIFAR: works' in printed, printed
    assert "imports=['own_net', 'mmanchor'], allow" in printed
    assert status == 0


@pytest.mark.parametrize('imports', ["'math'", "['math', 'json']"])
def test_what_a_config_imports_is_kept(plain_config, imports):
    path = plain_config(more=f'custom_imports = dict(imports={imports})')
    _, anchored = plain_and_anchored(path)
    kept = anchored.custom_imports.imports
    assert kept[0] == 'math' and kept[-1] == 'mmanchor'


def test_a_config_of_the_host_by_name():
    report = check_backbone(
        'mmpretrain::resnet/resnet18_8xb16_cifar10.py',
        options={'model.backbone.depth': 34},
    )
    assert report.failure is None
    assert report.extra_flops < 0.3  # 0.32 for 18 layers


def test_the_caller_s_random_state_is_not_changed(plain_config):

    def draw():
        return random.random(), np.random.rand(), torch.rand(1).item()

    path, states = plain_config(), []
    for check in (lambda: None, lambda: check_backbone(path, size=16)):
        random.seed(0)
        np.random.seed(0)
        torch.manual_seed(0)
        states.append((check(), draw()))
    (_, expected), (report, found) = states
    assert found == expected
    assert check_backbone(path, size=16) == report


def test_pretrained_files_are_not_read(plain_config):
    path = plain_config(
        arguments="init_cfg=[dict(type='Pretrained', checkpoint='gone.pth'),"
        " dict(type='Kaiming', layer='Conv2d')]"
    )
    assert check_backbone(path, size=16).failure is None
    plain, _ = plain_and_anchored(path)
    assert plain.model.backbone.init_cfg == [
        dict(type='Kaiming', layer='Conv2d')
    ]


def test_only_classifiers_are_checked(tmp_path):
    path = tmp_path / 'other.py'
    path.write_text("model = dict(type='MAE')")
    with pytest.raises(ValueError, match='ImageClassifier.*has MAE'):
        plain_and_anchored(path)
    assert check_backbone('gone.py').failure.startswith(
        'load the config: FileNotFoundError'
    )


@pytest.mark.parametrize(
    'pipeline,size',
    [
        ([dict(scale=256), dict(crop_size=224), dict(type='PackInputs')], 224),
        ([dict(type='Resize', scale=(48, 40))], (48, 40)),
        ([dict(type='PackInputs')], 32),
    ],
)
def test_image_size_is_read_off_the_pipelines(pipeline, size):
    train = dict(dataset=dict(pipeline=[dict(crop_size=32)]))
    test = dict(dataset=dict(pipeline=pipeline))
    cfg = dict(train_dataloader=train, test_dataloader=test)
    assert image_size(cfg) == size
    assert image_size({}) == 224


@pytest.mark.parametrize(
    'words,refused',
    [
        ([], 'either configs, --all or --timm'),
        (['--all', '--timm'], 'either configs, --all or --timm'),
        (['--timm', '--size', '64'], 'no --size and no --cfg-options with'),
    ],
    ids=str,
)
def test_what_is_to_be_checked_is_one_thing(
    words, refused, monkeypatch, capsys
):
    monkeypatch.setattr('sys.argv', [str(TOOL), *words])
    with pytest.raises(SystemExit):
        runpy.run_path(str(TOOL), run_name='__main__')
    assert refused in capsys.readouterr().err.replace('\n', ' ')


def test_families_of_timm_have_a_page(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(
        'mmanchor.diagnostics.timm_matrix.TIMM_MATRIX',
        {'vision_transformer': TIMM_MATRIX['vision_transformer']},
    )
    page = tmp_path / 'timm.md'
    monkeypatch.setattr('sys.argv', [str(TOOL), '--timm', '--out', str(page)])
    with pytest.raises(SystemExit, match='False'):  # no failure
        runpy.run_path(str(TOOL), run_name='__main__')
    assert '1 of 1 train' in capsys.readouterr().out
    text = page.read_text()
    assert text.startswith('# What anchoring does to the families of timm')
    assert '| vision_transformer | test_vit, features_only, img_size=64 |' in (
        text
    )


def test_tables(plain_config, tmp_path):
    works = check_backbone(plain_config(), size=16)
    fails = check_backbone('gone.py')
    text = summarise([works, fails])
    assert text.startswith('1 of 2 train, 1 of 2 start exactly (worst')
    assert terminal_table([works, fails]).row_count == 1
    path = tmp_path / 'table.md'
    write_markdown([works, fails], 'the command', str(path))
    text = path.read_text()
    assert f'| {" | ".join(table_row(works))} |' in text
    assert '`the command`' in text
    assert 'Failed: gone.py, to load the config' in text
    assert [p.name for p in tmp_path.glob('table*')] == ['table.md']
