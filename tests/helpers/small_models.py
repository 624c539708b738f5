"""Small anchored models of all kinds of stem, at 32 px."""

import torch
from helpers.builders import image_bytes
from mmpretrain.models import LinearClsHead
from mmpretrain.registry import MODELS
from torch import nn

from mmanchor.functional import anchor

BACKBONES = {
    'patches': (
        dict(
            type='VisionTransformer',
            arch=dict(
                embed_dims=24,
                num_layers=2,
                num_heads=2,
                feedforward_channels=48,
            ),
            img_size=32,
            patch_size=8,
        ),
        None,
        24,
    ),
    'padded patches': (
        dict(
            type='SwinTransformer',
            arch=dict(embed_dims=16, depths=[1, 1], num_heads=[1, 2]),
            out_indices=(1,),
            img_size=32,
            window_size=4,
        ),
        'GlobalAveragePooling',
        32,
    ),
    'two branches': (
        dict(type='RepVGG', arch='A0', out_indices=(0,)),
        'GlobalAveragePooling',
        48,
    ),
    'adaptive padding': (
        dict(type='EfficientNet', arch='b0', out_indices=(1,)),
        'GlobalAveragePooling',
        16,
    ),
    'convolution': (
        dict(type='ResNet_CIFAR', depth=18, stem_channels=8, base_channels=8),
        'GlobalAveragePooling',
        64,
    ),
}


@MODELS.register_module()
class TwoAnswers(LinearClsHead):
    """Has two outputs, as Conformer's."""

    def forward(self, feats):
        score = super().forward(feats)
        return score, 2 * score

    def predict(self, feats, data_samples=None):
        return self._get_predictions(sum(self(feats)), data_samples)


def build(name, k=5, head=None, **kwargs):
    """An anchored model with statistics that matter and K references."""
    backbone, neck, width = BACKBONES[name]
    model = MODELS.build(
        dict(
            type='AnchoredImageClassifier',
            backbone=dict(backbone),
            neck=neck and dict(type=neck),
            head=dict(
                type=head
                or (
                    'VisionTransformerClsHead'
                    if neck is None
                    else 'LinearClsHead'
                ),
                num_classes=7,
                in_channels=width,
            ),
            data_preprocessor=dict(mean=[120.0] * 3, std=[60.0] * 3),
            **kwargs,
        )
    )
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
    for parameter in model.head.parameters():
        nn.init.normal_(parameter, 0, 0.1)
    model.reference_bank.fill(image_bytes(k, size=32))
    return model.eval()


def disagreeing(name='convolution', k=5):
    """A model whose answer depends on the reference a lot."""
    model = build(name, k=k)
    for layer in model.stem:
        weight = model.backbone.get_submodule(layer).weight.data
        weight.normal_(0, 3 * weight.std())
    return model


def built_for_2c():
    """Without a stem that reads the image: nothing can be shared."""
    model = MODELS.build(
        dict(
            type='AnchoredImageClassifier',
            backbone=dict(type='T2T_ViT', img_size=32, num_layers=1),
            head=dict(
                type='VisionTransformerClsHead', num_classes=5, in_channels=384
            ),
        )
    )
    model.reference_bank.fill(torch.randn(1, 3, 32, 32))
    return model.eval()


@torch.no_grad()
def one_by_one(model, images):
    """The logits for each reference, without sharing anything."""
    references = model.data_preprocessor(
        dict(inputs=model.reference_bank.in_use)
    )['inputs']
    return torch.stack(
        [model(anchor(images, r.expand_as(images))) for r in references]
    )
