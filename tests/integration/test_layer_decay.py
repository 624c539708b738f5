"""Layer-wise learning-rate decay: the widened stem is where the stem was."""

import pytest
from helpers.builders import NUM_CLASSES
from mmengine.optim import build_optim_wrapper
from mmpretrain.registry import MODELS

BACKBONES = {
    'VisionTransformer': dict(
        arch=dict(
            embed_dims=16, num_layers=3, num_heads=2, feedforward_channels=32
        ),
        img_size=16,
        patch_size=4,
    ),
    'SwinTransformer': dict(
        arch=dict(embed_dims=8, depths=[1, 1, 1, 1], num_heads=[1, 1, 2, 2]),
        img_size=64,
        window_size=2,
    ),
}
STEM = 'backbone.patch_embed.projection.weight'
BASE_LR = 1e-3


def groups(kind, backbone):
    model = MODELS.build(
        dict(
            type=kind,
            backbone=dict(type=backbone, **BACKBONES[backbone]),
            neck=None,
            head=dict(
                type='LinearClsHead', num_classes=NUM_CLASSES, in_channels=16
            ),
        )
    )
    optim = build_optim_wrapper(
        model,
        dict(
            optimizer=dict(type='AdamW', lr=BASE_LR, weight_decay=0.3),
            constructor='LearningRateDecayOptimWrapperConstructor',
            paramwise_cfg=dict(
                layer_decay_rate=0.5, norm_decay_mult=0.0, bias_decay_mult=0.0
            ),
        ),
    )
    found = {g['param_name']: g for g in optim.optimizer.param_groups}
    assert list(found) == [n for n, _ in model.named_parameters()]
    return model, found


@pytest.mark.parametrize('backbone', BACKBONES)
def test_every_layer_has_the_rate_it_has_in_the_plain_model(backbone):
    plain, expected = groups('ImageClassifier', backbone)
    model, found = groups('AnchoredImageClassifier', backbone)
    keys = ('lr', 'lr_scale', 'weight_decay', 'layer_id')
    assert {
        name: [group[k] for k in keys] for name, group in found.items()
    } == {name: [group[k] for k in keys] for name, group in expected.items()}
    (weight,) = found[STEM]['params']
    assert weight is model.get_parameter(STEM)
    assert weight.size(1) == 2 * plain.get_parameter(STEM).size(1)
    assert found[STEM]['layer_id'] == 0
    depth = max(group['layer_id'] for group in found.values())
    assert found[STEM]['lr'] == pytest.approx(BASE_LR * 0.5**depth)
    assert found['head.fc.weight']['lr'] == BASE_LR
