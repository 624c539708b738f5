"""The host's losses in a whole model: as they are, and beside masked rows."""

import pytest
import torch
import torch.nn.functional as F
from helpers.builders import NUM_CLASSES, build_model, make_batch
from mmpretrain.registry import MODELS

LOSSES = {
    'original': dict(
        type='LabelSmoothLoss', label_smooth_val=0.1, mode='original'
    ),
    'classy_vision': dict(
        type='LabelSmoothLoss', label_smooth_val=0.1, mode='classy_vision'
    ),
    'multi_label': dict(
        type='LabelSmoothLoss', label_smooth_val=0.1, mode='multi_label'
    ),
    'focal': dict(type='FocalLoss'),
    'seesaw': dict(type='SeesawLoss', num_classes=NUM_CLASSES),
    'asymmetric': dict(type='AsymmetricLoss'),
    'asymmetric softmax': dict(type='AsymmetricLoss', use_sigmoid=False),
}
# train a yes-or-no answer for each class
SIGMOID = {'multi_label', 'bce', 'focal', 'asymmetric'}
# ResNet strikes back: needs labels as scores, as Mixup makes them
BCE = dict(type='CrossEntropyLoss', use_sigmoid=True)
SMOOTHED = {
    'original': lambda hot: 0.9 * hot + 0.1 / NUM_CLASSES,
    'classy_vision': lambda hot: (hot + 0.1 / NUM_CLASSES) / 1.1,
    'multi_label': lambda hot: 0.8 * hot + 0.1,
}


def step(name, mask_prob, head=(), **kwargs):
    """A training batch's losses, logits and masks."""
    model = build_model(
        preprocessor=dict(mask_prob=mask_prob, mask_by='sample', seed=1),
        head=dict(loss=LOSSES[name], **dict(head)),
        **kwargs,
    )
    data = model.data_preprocessor(make_batch(NUM_CLASSES), training=True)
    losses = model(**data, mode='loss')
    mask = torch.tensor([s.reference_masked for s in data['data_samples']])
    return model, losses, model(data['inputs']), mask


def rows(name, logits, target):
    """Cross-entropies by hand."""
    if name in SIGMOID:
        return F.binary_cross_entropy_with_logits(
            logits, target, reduction='none'
        ).sum(1)
    return F.cross_entropy(logits, target, reduction='none')


@pytest.mark.parametrize('name', LOSSES)
def test_without_masking_the_loss_is_the_plain_run_s(name):
    head = dict(loss=LOSSES[name])
    host = build_model(type='ImageClassifier', head=head)
    model = build_model(head=head, preprocessor=dict(mask_prob=0))
    model.load_state_dict(
        {k: v for k, v in host.state_dict().items() if 'loss_module' not in k},
        strict=name != 'seesaw',
    )  # it counts labels, from zero in both
    ours, theirs = (
        each(
            **each.data_preprocessor(make_batch(NUM_CLASSES), training=True),
            mode='loss',
        )['loss']
        for each in (model, host)
    )
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('name', LOSSES)
def test_masked_rows_are_uniform_beside_the_host_s_loss(name):
    _, losses, logits, mask = step(name, 0.5)
    assert 0 < mask.sum() < len(mask)
    uniform = torch.full_like(logits, 1 / NUM_CLASSES)
    masked = (
        LOSSES[name].get('loss_weight', 1)
        * rows(name, logits, uniform)[mask].sum()
        / len(mask)
    )
    host = MODELS.build(LOSSES[name])
    rest = host(
        logits[~mask], torch.arange(NUM_CLASSES)[~mask], avg_factor=len(mask)
    )
    torch.testing.assert_close(losses['loss'], masked + rest)


@pytest.mark.parametrize('name', SMOOTHED)
def test_label_smoothing_by_hand(name):
    _, losses, logits, mask = step(name, 0.5)
    target = SMOOTHED[name](torch.eye(NUM_CLASSES))
    target[mask] = 1 / NUM_CLASSES
    torch.testing.assert_close(
        losses['loss'], rows(name, logits, target).mean()
    )


@pytest.mark.parametrize('name', LOSSES)
def test_a_wholly_masked_batch(name):
    _, losses, logits, mask = step(name, 1)
    assert mask.all()
    uniform = torch.full_like(logits, 1 / NUM_CLASSES)
    torch.testing.assert_close(
        losses['loss'],
        LOSSES[name].get('loss_weight', 1)
        * rows(name, logits, uniform).mean(),
    )


@pytest.mark.parametrize('name', ['original', 'classy_vision', 'bce'])
def test_mixed_labels(name):
    model = build_model(
        preprocessor=dict(mask_prob=0.5, mask_by='sample', seed=1),
        head=dict(loss=LOSSES.get(name, BCE)),
        train_cfg=dict(augments=dict(type='Mixup', alpha=0.8)),
    )
    data = model.data_preprocessor(make_batch(8), training=True)
    target = torch.stack([s.gt_score for s in data['data_samples']])
    if name in SMOOTHED:
        target = SMOOTHED[name](target)
    mask = torch.tensor([s.reference_masked for s in data['data_samples']])
    assert 0 < mask.sum() < len(mask)
    target[mask] = 1 / NUM_CLASSES
    losses = model(**data, mode='loss')
    torch.testing.assert_close(
        losses['loss'], rows(name, model(data['inputs']), target).mean()
    )


def test_cal_acc_counts_the_rows_that_are_not_masked():
    _, losses, logits, mask = step(
        'original', 0.5, head=dict(cal_acc=True, topk=(1, 5))
    )
    right = logits.topk(5).indices == torch.arange(NUM_CLASSES)[:, None]
    for k in (1, 5):
        expected = 100 * right[~mask, :k].any(1).float().mean()
        assert losses[f'accuracy_top-{k}'][0].item() == expected.item()
    _, losses, _, _ = step('original', 1, head=dict(cal_acc=True))
    assert 'accuracy_top-1' not in losses


def test_cal_acc_refuses_mixed_labels_as_the_host_does():
    model = build_model(
        preprocessor=dict(mask_prob=0),
        head=dict(cal_acc=True),
        train_cfg=dict(augments=dict(type='Mixup', alpha=0.8)),
    )
    data = model.data_preprocessor(make_batch(8), training=True)
    with pytest.raises(ValueError, match='hard labels where `cal_acc=True`'):
        model(**data, mode='loss')
