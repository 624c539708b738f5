import copy

import pytest
import torch
from helpers.small_models import BACKBONES, build
from mmengine.runner import load_checkpoint, save_checkpoint
from mmpretrain.registry import MODELS

from mmanchor import fold_reference
from mmanchor.models import FoldedImageClassifier


def from_disk(name, stem, **kwargs):
    backbone, neck, width = BACKBONES[name]
    return MODELS.build(
        dict(
            type='FoldedImageClassifier',
            backbone=dict(backbone),
            neck=neck and dict(type=neck),
            head=dict(
                type='VisionTransformerClsHead'
                if neck is None
                else 'LinearClsHead',
                num_classes=7,
                in_channels=width,
            ),
            data_preprocessor=dict(mean=[120.0] * 3, std=[60.0] * 3),
            image_shape=[3, 32, 32],
            stem=stem,
            **kwargs,
        )
    ).eval()


@pytest.mark.parametrize('name', BACKBONES)
@torch.no_grad()
def test_it_answers_as_what_was_saved(name, tmp_path):
    model = build(name, k=1)
    folded = fold_reference(model)
    save_checkpoint(
        dict(state_dict=folded.state_dict()), str(tmp_path / 'f.pth')
    )
    read = from_disk(name, model.stem)
    load_checkpoint(read, str(tmp_path / 'f.pth'), strict=True)
    images = torch.randn(3, 3, 32, 32)
    assert torch.equal(read(images), folded(images))
    maps = [
        read.backbone.get_submodule(layer).reference_map
        for layer in model.stem
    ]
    assert all(map_.abs().max() > 0 for map_ in maps)
    again = copy.deepcopy(read)
    assert torch.equal(again(images), folded(images))


@torch.no_grad()
def test_it_refuses_images_of_another_size():
    read = from_disk('convolution', ['conv1'])
    message = r'size \(C, H, W\) = \(3, 32, 32\), but got \(3, 32, 24\)'
    with pytest.raises(ValueError, match=message):
        read(torch.randn(1, 3, 32, 24))


def test_it_refuses_weights_without_a_map_for_each_layer():
    folded = fold_reference(build('two branches', k=1))
    weights = folded.state_dict()
    stem = [
        key[len('backbone.') : -len('.reference_map')]
        for key in weights
        if key.endswith('.reference_map')
    ]
    assert len(stem) == 2
    read = from_disk('two branches', stem)
    read.load_state_dict(weights)
    key = f'backbone.{stem[1]}.reference_map'
    missing = {k: v for k, v in weights.items() if k != key}
    with pytest.raises(ValueError, match=f'map for .* none for {key}. Load'):
        read.load_state_dict(missing)


def test_it_refuses_a_map_for_another_layer():
    weights = fold_reference(build('convolution', k=1)).state_dict()
    weights['backbone.layer1.0.conv1.reference_map'] = torch.zeros(8, 32, 32)
    read = from_disk('convolution', ['conv1'])
    with pytest.raises(ValueError, match='got also backbone.layer1.0.conv1.r'):
        read.load_state_dict(weights)


def test_it_refuses_a_stem_that_is_not_there():
    with pytest.raises(ValueError, match='layers of ResNet_CIFAR, but got st'):
        from_disk('convolution', ['stem.0'])


@torch.no_grad()
def test_it_can_be_wrapped_and_its_maps_move_with_it():
    folded = fold_reference(build('convolution', k=1)).double()
    wrapper = torch.nn.Sequential(from_disk('convolution', ['conv1']).double())
    wrapper.load_state_dict(
        {f'0.{key}': value for key, value in folded.state_dict().items()}
    )
    assert isinstance(wrapper[0], FoldedImageClassifier)
    images = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    assert torch.equal(wrapper(images), folded(images))
