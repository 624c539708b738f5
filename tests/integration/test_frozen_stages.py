"""Frozen layers stay as they were loaded, masked batches or not."""

import pytest
import torch
import torch.nn.functional as F
from helpers.builders import build_model, make_batch, model_config
from mmengine.optim import OptimWrapper
from mmpretrain.registry import MODELS

VIT = dict(
    type='VisionTransformer',
    arch=dict(
        embed_dims=16, num_layers=3, num_heads=2, feedforward_channels=32
    ),
    img_size=16,
    patch_size=4,
    frozen_stages=1,
)


def make(backbone, masked_norm_stats=None, **preprocessor):
    """A plain model, or an anchored one from its weights."""
    options = {}
    if masked_norm_stats:
        options = dict(masked_norm_stats=masked_norm_stats)
    cfg = model_config(
        type='AnchoredImageClassifier' if options else 'ImageClassifier',
        preprocessor=preprocessor,
        **options,
    )
    if backbone.get('type') == 'VisionTransformer':
        cfg.update(
            neck=None,
            head=dict(
                type='VisionTransformerClsHead', num_classes=10, in_channels=16
            ),
        )
        cfg['backbone'] = dict(backbone)
    else:
        cfg['backbone'].update(backbone)
    torch.manual_seed(0)
    return MODELS.build(cfg)


def train(model, steps=4):
    """Whether batches were masked."""
    optim = OptimWrapper(
        torch.optim.SGD(
            [p for p in model.parameters() if p.requires_grad], lr=0.1
        )
    )
    model.train()
    return [
        float(model.train_step(make_batch(8, seed=i), optim)['masked_share'])
        for i in range(steps)
    ]


def trained_names(model):
    return [name for name, p in model.named_parameters() if p.requires_grad]


FROZEN = {
    'ResNet': (dict(frozen_stages=1), 'conv1', ('bn1.', 'layer1.')),
    'ViT': (
        VIT,
        'patch_embed.projection',
        ('patch_embed.', 'layers.0.', 'cls_token', 'pos_embed'),
    ),
}


@pytest.mark.parametrize('norm_stats', ['skip', 'update'])
@pytest.mark.parametrize('name', FROZEN)
def test_frozen_layers_stay_as_loaded(name, norm_stats):
    backbone, stem, frozen = FROZEN[name]
    frozen = tuple(f'backbone.{layer}' for layer in (stem, *frozen))
    plain = make(backbone)
    model = make(backbone, norm_stats, mask_prob=0.5, seed=1)
    trained = trained_names(model)
    assert trained == trained_names(plain)
    model.load_state_dict(plain.state_dict())
    loaded = {k: v.clone() for k, v in model.state_dict().items()}
    assert train(model) == [1, 0, 1, 0]
    state = model.state_dict()
    changed = {k for k in state if not torch.equal(state[k], loaded[k])}
    assert set(trained) <= changed
    assert not any(key.startswith(frozen) for key in changed)
    assert trained_names(model) == trained
    weight = plain.backbone.get_submodule(stem).weight
    assert torch.equal(
        model.backbone.get_submodule(stem).weight,
        torch.cat([weight, weight], dim=1),
    )


@pytest.mark.parametrize('mask_prob', [0, 1])
def test_frozen_norms_use_what_they_remember(mask_prob):
    model = make(
        dict(frozen_stages=0), 'skip', mask_prob=mask_prob, seed=1
    ).train()
    norms = [model.backbone.bn1, model.backbone.layer1[0].bn1]
    seen = {}
    for norm in norms:
        norm.running_mean.normal_()
        norm.register_forward_hook(
            lambda m, inputs, output: seen.update(
                {m: (inputs[0], output.clone())}
            )
        )  # ReLU is in place
    frozen, other = norms
    data = model.data_preprocessor(make_batch(8), training=True)
    model(**data, mode='loss')
    assert not frozen.training and other.training
    inputs, output = seen[frozen]
    torch.testing.assert_close(
        output,
        F.batch_norm(
            inputs,
            frozen.running_mean,
            frozen.running_var,
            frozen.weight,
            frozen.bias,
        ),
    )
    inputs, output = seen[other]
    torch.testing.assert_close(
        output,
        F.batch_norm(
            inputs, None, None, other.weight, other.bias, training=True
        ),
    )


def test_norm_eval_keeps_all_statistics():
    model = build_model(preprocessor=dict(mask_prob=0.5, seed=1))
    model.backbone.norm_eval = True
    before = {k: v.clone() for k, v in model.named_buffers()}
    assert train(model) == [1, 0, 1, 0]
    after = dict(model.named_buffers())
    assert {k for k in after if not torch.equal(after[k], before[k])} == {
        'data_preprocessor.iteration'
    }
