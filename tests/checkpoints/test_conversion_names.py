"""Where weights are in a checkpoint, and what they are called."""

import pytest
import torch
from torchvision import models

from mmanchor import CONFIG_DIR
from mmanchor.checkpoints.conversion import convert
from mmanchor.checkpoints.torchvision_weights import ARCHITECTURES


def vit():
    with torch.device('meta'):
        return models.vit_b_16().state_dict()


def behind(prefix, weights):
    return {f'{prefix}{name}': w for name, w in weights.items()}


def test_weights_are_found_wherever_they_are():
    plain = vit()
    expected = convert(plain, 'vit_b_16')
    assert expected.place is None
    averaged = dict(behind('module.net.', plain), n_averaged=torch.tensor(9))
    for checkpoint, place in (
        (behind('net.', plain), None),
        (behind('module.', plain), None),
        (behind('module.net.', plain), None),
        (averaged, None),
        (dict(net=behind('module.', plain), acc=1.0), 'net'),
        (dict(model=behind('net.', plain), optimizer={}, epoch=3), 'model'),
        (
            dict(model=dict(other=plain['class_token']), model_ema=averaged),
            'model_ema',
        ),
    ):
        found = convert(checkpoint, 'vit_b_16')
        assert found.place == place
        assert found.weights.keys() == expected.weights.keys()
        assert all(found.weights[n] is w for n, w in expected.weights.items())


def test_which_weights_may_be_chosen():
    saved = dict(model=vit(), model_ema=vit(), scaler=dict(scale=1.0))
    assert convert(saved, 'vit_b_16').place == 'model_ema'
    found = convert(saved, 'vit_b_16', 'model')
    assert found.weights['backbone.cls_token'] is saved['model']['class_token']
    with pytest.raises(
        ValueError, match="under 'net' in .* those of: model_ema, model"
    ):
        convert(saved, 'vit_b_16', 'net')
    with pytest.raises(ValueError, match="under 'net' in .* of: none"):
        convert(vit(), 'vit_b_16', 'net')


def test_old_names_of_torchvision_are_known():
    plain = vit()
    old = {
        name.replace('mlp.0', 'mlp.linear_1').replace(
            'mlp.3', 'mlp.linear_2'
        ): weight
        for name, weight in plain.items()
    }
    assert old.keys() != plain.keys()
    found, expected = (convert(w, 'vit_b_16').weights for w in (old, plain))
    assert found.keys() == expected.keys()


@pytest.mark.parametrize('arch', ARCHITECTURES)
@pytest.mark.parametrize('channels', [3, 6])
def test_every_config_named_is_there(arch, channels):
    with torch.device('meta'):
        weights = ARCHITECTURES[arch].build().state_dict()
        stem = weights[ARCHITECTURES[arch].stem]
        weights[ARCHITECTURES[arch].stem] = torch.empty(
            len(stem), channels, *stem.shape[2:]
        )
        head = ARCHITECTURES[arch].head
        wide = weights[f'{head}.weight'].size(1)
        for classes in (10, 100, 1000):
            weights[f'{head}.weight'] = torch.empty(classes, wide)
            weights[f'{head}.bias'] = torch.empty(classes)
            found = convert(weights, arch)
            known = (classes == 1000) != (arch == 'resnet18_cifar')
            assert (found.config is not None) == known
            if known:
                assert (CONFIG_DIR.parent / found.config).is_file()
                assert ('anchored' in found.config) == (channels == 6)
