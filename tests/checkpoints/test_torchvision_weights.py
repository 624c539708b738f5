"""ConvertedCheckpoint models answer as torchvision's, for all five architectures."""

import re
from collections import Counter

import pytest
import torch
from mmengine.config import Config
from mmpretrain.registry import MODELS
from torch import nn

from mmanchor import CONFIG_DIR
from mmanchor.checkpoints.conversion import convert
from mmanchor.checkpoints.torchvision_weights import (
    ARCHITECTURES,
    find_architecture,
    find_mismatches,
)

DATA = {'resnet18_cifar': ('cifar10', 10, 32), 'vit_b_16': ('in1k', 1000, 224)}
QUICK = {
    *(('resnet18_cifar', 6), ('resnet18_cifar', 3)),
    *(('swin_v2_t', 6), ('swin_v2_t', 3), ('vit_b_16', 6)),
}
CASES = [
    pytest.param(
        arch,
        channels,
        marks=() if (arch, channels) in QUICK else pytest.mark.slow,
    )
    for arch in ARCHITECTURES
    for channels in (6, 3)
]


@torch.no_grad()
def random_weights(arch, channels):
    """torchvision's model with nothing left at its initial value."""
    with torch.device('meta'):
        net = ARCHITECTURES[arch].build()
        name, _, _ = ARCHITECTURES[arch].stem.rpartition('.')
        stem = net.get_submodule(name)
        wide = nn.Conv2d(
            channels,
            stem.out_channels,
            stem.kernel_size,
            stem.stride,
            stem.padding,
            bias=stem.bias is not None,
        )
        net.set_submodule(name, wide)
        if arch == 'resnet18_cifar':
            net.fc = nn.Linear(512, 10)
            net.maxpool = nn.Identity()
    tables = {}
    if arch.startswith('swin'):  # made of the window size, so not on meta
        tables = dict(ARCHITECTURES[arch].build().named_buffers())
    net.to_empty(device='cpu')
    for name, tensor in net.state_dict().items():
        if 'relative' in name and name in tables:
            tensor.copy_(tables[name])
        elif name.endswith('running_var'):
            tensor.uniform_(0.5, 2)
        elif name.endswith('num_batches_tracked'):
            tensor.fill_(7)
        elif name.endswith('logit_scale'):
            tensor.uniform_(2, 5)  # it is cut off at log(100) = 4.6
        elif name.endswith(('bias', 'running_mean')):
            tensor.uniform_(-0.3, 0.3)
        elif tensor.dim() == 1:  # of norms
            tensor.uniform_(0.5, 1.5)
        elif tensor.dim() == 3:  # tokens
            tensor.uniform_(-0.5, 0.5)
        else:
            bound = (6 / tensor[0].numel()) ** 0.5
            tensor.uniform_(-bound, bound)
    return net.eval()


def build(config):
    cfg = Config.fromfile(CONFIG_DIR / config.removeprefix('configs/'))
    return MODELS.build(
        dict(cfg.model, data_preprocessor=cfg.data_preprocessor)
    ).eval()


def lost_by_the_host(model):
    """What a model's own state dict lacks when the host loads it."""
    lost, unexpected = model.load_state_dict(model.state_dict(), strict=False)
    assert not unexpected
    return set(lost)


def epsilons(model):
    """Of all norms, by how many there are of each."""
    return Counter(m.eps for m in model.modules() if hasattr(m, 'eps'))


@pytest.mark.parametrize('arch,channels', CASES)
def test_logits_are_torchvision_s(arch, channels):
    data, classes, size = DATA.get(arch, ('in1k', 1000, 256))
    net = random_weights(arch, channels)
    converted = convert(net.state_dict(), arch)
    assert converted.channels == channels
    assert converted.num_classes == classes
    assert converted.data == data
    model = build(converted.config)
    own = {n for n in model.state_dict() if not n.startswith('reference_bank')}
    assert set(converted.weights) == own - {'data_preprocessor.iteration'}
    lost = lost_by_the_host(model)
    missing, unexpected = model.load_state_dict(
        converted.weights, strict=False
    )
    assert unexpected == []
    assert set(missing) == lost
    assert all(re.search('relative_(coords|position)', n) for n in lost)
    assert epsilons(model) == epsilons(net)  # too small to be seen in logits
    images = torch.randn(1, channels, size, size)
    with torch.no_grad():
        expected, logits = net(images), model(images)
    assert expected.std() > 0.1
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-4)


def test_plain_weights_start_an_anchored_model_exactly():
    net = random_weights('resnet18_cifar', 3)
    model = build('configs/converted/resnet18_anchored_cifar10.py')
    weights = convert(net.state_dict(), 'resnet18_cifar').weights
    model.load_state_dict(weights)
    images, references = torch.randn(2, 4, 3, 32, 32)
    anchored = torch.cat([references, images - references], 1)
    with torch.no_grad():
        torch.testing.assert_close(
            model(anchored), net(images), rtol=1e-4, atol=1e-4
        )


@pytest.mark.parametrize('arch', ARCHITECTURES)
def test_architectures_are_distinguished_by_their_weights(arch):
    with torch.device('meta'):
        weights = ARCHITECTURES[arch].build().state_dict()
    assert find_architecture(weights) == arch
    others = [other for other in ARCHITECTURES if other != arch]
    assert all(find_mismatches(weights, other) for other in others)


def test_nothing_may_be_missing_or_more():
    with torch.device('meta'):
        weights = ARCHITECTURES['swin_v2_t'].build().state_dict()
    assert find_mismatches(weights, 'swin_v2_t') == []
    bias = weights.pop('norm.bias')
    assert find_mismatches(weights, 'swin_v2_t') == ['norm.bias is missing']
    weights.update({'norm.bias': bias, 'norm.more': bias})
    assert find_mismatches(weights, 'swin_v2_t') == ['norm.more is unknown']
    assert find_architecture(weights) is None
