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


def test_it_refuses_weights_that_lack_a_map_or_have_another():
    weights = fold_reference(build('two branches', k=1)).state_dict()
    keys = [key for key in weights if key.endswith('.reference_map')]
    assert len(keys) == 2
    stem = [key.split('.', 1)[1].rpartition('.')[0] for key in keys]
    read = from_disk('two branches', stem)
    read.load_state_dict(weights)
    missing = {k: v for k, v in weights.items() if k != keys[1]}
    message = f'map for .* none for {keys[1]}. Load'
    with pytest.raises(ValueError, match=message):
        read.load_state_dict(missing)
    other = 'backbone.stage_1.0.branch_1x1.conv.reference_map'
    with pytest.raises(ValueError, match=f'got also {other}'):
        read.load_state_dict({**weights, other: torch.zeros(8, 32, 32)})


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
