"""The host's hooks that change the loss or the statistics on the way."""

import copy

import pytest
import torch
from helpers.builders import build_model, make_batch
from mmpretrain.engine.hooks.precise_bn_hook import update_bn_stats
from mmpretrain.models import LabelSmoothLoss
from torch import nn
from torch.utils.data import DataLoader

from mmanchor.functional import anchor, uniform_cross_entropy
from mmanchor.models import ReferenceMaskingLoss


@pytest.mark.parametrize('target', ['uniform', 'label'])
def test_a_switched_loss_still_masks(run, target):
    recipe = dict(
        action_epoch=2,
        batch_augments=dict(augments=dict(type='Mixup', alpha=0.8)),
        loss=dict(type='LabelSmoothLoss', label_smooth_val=0.1),
    )
    runner = run(
        custom_hooks=[
            dict(type='KReferenceHook'),
            dict(type='SwitchRecipeHook', schedule=[recipe]),
        ],
        **{
            'train_cfg.max_epochs': 2,
            'train_cfg.val_interval': 2,
            'model.head.masked_target': target,
        },
    )
    runner.train()
    loss = runner.model.head.loss_module
    assert isinstance(loss, ReferenceMaskingLoss)
    assert isinstance(loss.loss, LabelSmoothLoss)
    assert loss.target == target


def test_a_switched_loss_is_the_new_one_on_rows_that_are_not_masked():
    model = build_model(preprocessor=dict(mask_prob=0))
    model.head.loss_module = LabelSmoothLoss(0.2)
    batch = model.data_preprocessor(make_batch(6), training=True)
    feats = model.extract_feat(batch['inputs'])
    labels = torch.stack([s.gt_label for s in batch['data_samples']]).flatten()
    scores = model.head(feats)
    expected = nn.functional.cross_entropy(scores, labels, label_smoothing=0.2)
    got = model.head.loss(feats, batch['data_samples'])['loss']
    torch.testing.assert_close(got, expected)
    for sample in batch['data_samples']:
        sample.set_field(True, 'reference_masked')
    got = model.head.loss(feats, batch['data_samples'])['loss']
    torch.testing.assert_close(got, uniform_cross_entropy(scores).mean())


def test_precise_statistics_are_those_of_the_bank():
    model = build_model(preprocessor=dict(mask_prob=1.0))
    model.train()
    batch = make_batch(8)
    model.reference_bank.fill(make_batch(1, seed=5)['inputs'])
    model(**model.data_preprocessor(make_batch(8), True), mode='loss')
    drawn = int(model.data_preprocessor.iteration)

    expected = copy.deepcopy(model)
    with torch.no_grad():
        for module in expected.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.track_running_stats, module.momentum = True, 1.0
        plain = expected.data_preprocessor(copy.deepcopy(batch))['inputs']
        reference = expected.data_preprocessor(
            dict(inputs=expected.reference_bank.images)
        )['inputs']
        expected(anchor(plain, reference.expand_as(plain)))

    loader = DataLoader(range(8), batch_size=8, collate_fn=lambda _: batch)
    update_bn_stats(model, loader, 8)
    for name in ('running_mean', 'running_var'):
        torch.testing.assert_close(
            getattr(model.backbone.bn1, name),
            getattr(expected.backbone.bn1, name),
        )
    assert int(model.data_preprocessor.iteration) == drawn


@pytest.mark.parametrize('protocol', ['mean', 'single', 'adaptive'])
def test_precise_statistics_are_those_of_all_references(protocol):
    """One image in as many rows as there are references meets them all."""
    model = build_model().train()
    model.protocol = protocol
    model.reference_bank.fill(make_batch(4, seed=5)['inputs'])
    rows = 1 if protocol == 'single' else 4
    image = make_batch(1)['inputs']

    expected = copy.deepcopy(model)
    with torch.no_grad():
        for module in expected.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = 1.0
        plain, references = (
            expected.data_preprocessor(dict(inputs=images))['inputs']
            for images in (image, model.reference_bank.images[:rows])
        )
        expected(anchor(plain.expand_as(references), references))

    batch = dict(make_batch(8), inputs=image.expand(8, -1, -1, -1))
    loader = DataLoader(range(8), batch_size=8, collate_fn=lambda _: batch)
    update_bn_stats(model, loader, 8)
    # each pair is there several times: the variance is divided by N - 1
    pixels = 16 * 16
    ours, theirs = (m.backbone.bn1 for m in (model, expected))
    torch.testing.assert_close(ours.running_mean, theirs.running_mean)
    torch.testing.assert_close(
        ours.running_var * (8 * pixels - 1) / (8 * pixels),
        theirs.running_var * (rows * pixels - 1) / (rows * pixels),
    )
