import pytest
import torch
from mmengine.runner.checkpoint import load_state_dict
from mmpretrain.registry import MODELS
from torch import nn

from mmanchor.models import AnchoredImageClassifier


@MODELS.register_module()
class UnfoldingBackbone(nn.Module):
    """Reads the image without a convolution, as T2T-ViT does."""

    def __init__(self, in_channels=3, width=8):
        super().__init__()
        self.norm = nn.LayerNorm(in_channels * 4)
        self.project = nn.Linear(in_channels * 4, width)

    def forward(self, x):
        patches = nn.functional.unfold(x, 2, stride=2).transpose(1, 2)
        return (self.project(self.norm(patches)).mean(1),)


@MODELS.register_module()
class PoolingBackbone(nn.Module):
    """Reads the image through no layer at all, and has no in_channels."""

    def forward(self, x):
        return (x.mean((2, 3)),)


def config(
    type_='AnchoredImageClassifier', backbone='UnfoldingBackbone', **kwargs
):
    return dict(
        type=type_,
        backbone=dict(type=backbone, **kwargs),
        head=dict(type='LinearClsHead', num_classes=5, in_channels=8),
    )


@pytest.mark.parametrize('channels', [3, 13])
def test_a_backbone_without_convolution_is_built_for_2c_channels(channels):
    given = {} if channels == 3 else dict(in_channels=channels)
    model = MODELS.build(config(**given))
    assert isinstance(model, AnchoredImageClassifier)
    assert (model.stem, model.image_channels) == ([], channels)
    model.reference_bank.fill(torch.randn(2, channels, 8, 8))
    assert model(torch.randn(4, channels, 8, 8)).shape == (4, 5)


@pytest.mark.parametrize(
    'load',
    [nn.Module.load_state_dict, load_state_dict],
    ids=['torch', 'mmengine'],
)
def test_it_refuses_a_plain_model_and_takes_an_anchored_one(load):
    model, again = MODELS.build(config()), MODELS.build(config())
    plain = MODELS.build(config('ImageClassifier'))
    with pytest.raises(
        ValueError,
        match=r'UnfoldingBackbone for anchored.*backbone.norm.weight.*'
        r'\(12,\) rather than \(24,\).*from scratch',
    ):
        load(model, plain.state_dict(), strict=False)
    load(again, model.state_dict(), strict=True)
    assert torch.equal(again.backbone.norm.weight, model.backbone.norm.weight)


def test_other_widths_are_left_to_the_host_to_report():
    model = MODELS.build(config())
    with pytest.raises(RuntimeError, match='size mismatch for backbone.norm'):
        model.load_state_dict(
            MODELS.build(config('ImageClassifier', in_channels=5)).state_dict()
        )


def test_a_backbone_that_reads_the_image_through_no_linear_layer():
    with pytest.raises(ValueError, match='PoolingBackbone to read.*has none'):
        MODELS.build(config(backbone='PoolingBackbone'))
    with pytest.raises(ValueError, match='UnfoldingBackbone to read'):
        AnchoredImageClassifier(UnfoldingBackbone(), head=config()['head'])


def test_the_first_convolution_reads_something_else():
    backbone = nn.Sequential(
        nn.Flatten(),
        nn.Linear(12, 64),
        nn.Unflatten(1, (16, 2, 2)),
        nn.Conv2d(16, 8, 1),
        nn.Flatten(),
    )
    with pytest.raises(
        ValueError, match='of 3 channels, as many as `mean`.*but 3 of.*16'
    ):
        AnchoredImageClassifier(
            backbone,
            head=config()['head'],
            data_preprocessor=dict(mean=[0.0] * 3, std=[1.0] * 3),
        )


def lora(kind, path):
    """A LoRAModel, which loads its frozen weights when it is built."""
    module = dict(
        type='VisionTransformer',
        arch=dict(
            embed_dims=16, num_layers=1, num_heads=2, feedforward_channels=32
        ),
        img_size=16,
        patch_size=4,
    )
    backbone = (
        module
        if path is None
        else dict(
            type='LoRAModel',
            module=dict(
                module,
                init_cfg=dict(
                    type='Pretrained', checkpoint=path, prefix='backbone.'
                ),
            ),
            rank=4,
            targets=[dict(type='qkv')],
        )
    )
    head = dict(type='VisionTransformerClsHead', num_classes=4, in_channels=16)
    return MODELS.build(dict(type=kind, backbone=backbone, head=head))


@torch.no_grad()
def test_weights_that_a_backbone_was_built_with_are_kept(tmp_path):
    path = str(tmp_path / 'plain.pth')
    plain = lora('ImageClassifier', None)
    torch.save(dict(state_dict=plain.state_dict()), path)
    model = lora('AnchoredImageClassifier', path)
    stem = model.backbone.module.patch_embed.projection.weight
    expected = plain.backbone.patch_embed.projection.weight
    for half in stem.chunk(2, dim=1):
        assert torch.equal(half, expected)
    assert not stem.requires_grad

    # its checkpoints have the small weights only
    model.init_weights()
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            parameter.normal_(0, 0.3)
    model.reference_bank.fill(torch.randn(2, 3, 16, 16))
    again = lora('AnchoredImageClassifier', path)
    with pytest.warns(UserWarning, match='which reads the image, is not amo'):
        again.load_state_dict(model.state_dict(), strict=False)
    images = torch.randn(3, 3, 16, 16)
    assert torch.equal(model.eval()(images), again.eval()(images))
