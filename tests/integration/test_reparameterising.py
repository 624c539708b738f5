"""Backbones that fold their branches for deployment, the stem's as well."""

import pytest
import torch
from mmpretrain.registry import MODELS
from torch import nn


@pytest.mark.parametrize(
    'backbone,width',
    [
        (dict(type='RepVGG', arch='A0', out_indices=(3,)), 1280),
        (dict(type='MobileOne', arch='s0', out_indices=(3,)), 1024),
    ],
    ids=lambda x: x['type'] if isinstance(x, dict) else x,
)
@torch.no_grad()
def test_folded_branches_answer_the_same(backbone, width):
    model = MODELS.build(
        dict(
            type='AnchoredImageClassifier',
            backbone=backbone,
            neck=dict(type='GlobalAveragePooling'),
            head=dict(type='LinearClsHead', num_classes=5, in_channels=width),
        )
    )
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
    model.eval()
    model.reference_bank.fill(torch.randn(2, 3, 32, 32))
    images = torch.randn(3, 3, 32, 32)
    before = model(images)
    branches = len(model.stem)
    model.backbone.switch_to_deploy()
    after = model(images)
    assert branches == 2
    assert (after - before).norm() < 1e-4 * before.norm()
