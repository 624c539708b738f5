"""Backbones that MMPretrain lacks."""

import pytest
import torch
import torchvision
from helpers.builders import image_bytes, make_batch
from mmengine.optim import OptimWrapper
from mmpretrain.registry import MODELS

from mmanchor.functional import anchor

SMALL = {
    'WideResNet_CIFAR': (dict(depth=10, widen_factor=1), 64, 'conv1'),
    'RegNetY': (dict(arch='400mf'), 440, 'stem.0'),
}


def build(name, kind='AnchoredImageClassifier', **arguments):
    small, channels, _ = SMALL[name]
    model = MODELS.build(
        dict(
            type=kind,
            backbone=dict(type=name, **{**small, **arguments}),
            neck=dict(type='GlobalAveragePooling'),
            head=dict(
                type='LinearClsHead', num_classes=10, in_channels=channels
            ),
            data_preprocessor=dict(mean=[120.0] * 3, std=[60.0] * 3),
        )
    )
    model.init_weights()
    return model


def parameters(model):
    return sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize('classes,expected', [(10, 2.24), (100, 2.26)])
def test_wrn_40_2_has_2_2_million_parameters(classes, expected):
    model = MODELS.build(
        dict(
            type='ImageClassifier',
            backbone=dict(type='WideResNet_CIFAR', depth=40, widen_factor=2),
            neck=dict(type='GlobalAveragePooling'),
            head=dict(
                type='LinearClsHead', num_classes=classes, in_channels=128
            ),
        )
    )
    assert parameters(model) / 1e6 == pytest.approx(expected, abs=0.01)
    convolutions = [
        m
        for m in model.modules()
        if isinstance(m, torch.nn.Conv2d) and m.kernel_size == (3, 3)
    ]
    # 40 layers: these and the linear one
    assert len(convolutions) == 37
    with torch.no_grad():
        assert model(torch.zeros(1, 3, 32, 32)).shape == (1, classes)


def test_wrn_starts_with_signals_of_one_size():
    backbone = MODELS.build(dict(type='WideResNet_CIFAR'))
    backbone.init_weights()
    convolution = backbone.stages[2][1].conv1
    assert convolution.weight.std().item() == pytest.approx(
        (2 / (9 * 128)) ** 0.5, rel=0.02
    )
    bn = backbone.stages[2][1].bn1
    assert (bn.weight == 1).all() and (bn.bias == 0).all()


def test_regnet_y_is_torchvision_s():
    backbone = MODELS.build(dict(type='RegNetY', arch='800mf'))
    theirs = torchvision.models.regnet_y_800mf().eval()
    names = {name for name in theirs.state_dict() if 'fc.' not in name}
    assert set(backbone.state_dict()) == names
    backbone.load_state_dict(theirs.state_dict(), strict=False)
    backbone.eval()
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        pooled = backbone(images)[0].mean((2, 3))
        assert torch.allclose(theirs.fc(pooled), theirs(images), atol=1e-5)
    assert pooled.shape == (1, 784)
    assert parameters(backbone) + 785 * 1000 == 6432512


@pytest.mark.parametrize('name', SMALL)
def test_weights_outlive_the_host_s_initialisation(name):
    backbone = MODELS.build(dict(type=name))
    backbone.init_weights()
    kernels = [
        m.weight
        for m in backbone.modules()
        if isinstance(m, torch.nn.Conv2d)
        and m.groups == 1
        and m.kernel_size == (1, 1)
        and m.bias is None
    ]
    assert kernels
    for kernel in kernels:
        assert kernel.std().item() == pytest.approx(
            (2 / len(kernel)) ** 0.5, rel=0.1
        )


@pytest.mark.parametrize('name', SMALL)
def test_anchored_they_start_exactly_where_a_plain_one_is(name):
    plain, model = build(name, 'ImageClassifier').eval(), build(name).eval()
    stem = SMALL[name][2]
    assert model.stem == [stem]
    assert model.backbone.get_submodule(stem).in_channels == 6
    model.load_state_dict(plain.state_dict(), strict=False)
    images, references = torch.randn(2, 2, 3, 64, 64)
    with torch.no_grad():
        expected, got = plain(images), model(anchor(images, references))
    assert expected.norm() > 0
    assert (got - expected).norm() < 1e-4 * expected.norm()


@pytest.mark.parametrize('name', SMALL)
def test_anchored_they_train_and_answer(name):
    model = build(name)
    before = model.backbone.get_submodule(SMALL[name][2]).weight.clone()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    logged = model.train_step(make_batch(4, 64), OptimWrapper(optimizer))
    assert logged['loss'].isfinite()
    after = model.backbone.get_submodule(SMALL[name][2]).weight
    assert not torch.equal(before, after)
    model.reference_bank.fill(image_bytes(2, size=64))
    samples = model.eval().test_step(make_batch(3, 64))
    assert [s.pred_logits.shape for s in samples] == [(10,)] * 3


@pytest.mark.parametrize('depth', [4, 39, 0, -2])
def test_bad_depths(depth):
    with pytest.raises(ValueError, match=rf'6n \+ 4.*but got {depth}'):
        MODELS.build(dict(type='WideResNet_CIFAR', depth=depth))


def test_bad_widths_and_archs():
    with pytest.raises(ValueError, match='at least 1, but got 0'):
        MODELS.build(dict(type='WideResNet_CIFAR', widen_factor=0))
    with pytest.raises(ValueError, match="'800mf'.*but got '900mf'"):
        MODELS.build(dict(type='RegNetY', arch='900mf'))
