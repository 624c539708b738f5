"""Mixup and its kin: mixed by the host, then anchored and masked."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers.builders import NUM_CLASSES, build_model, make_batch

MASK_SOME = dict(mask_prob=0.5, mask_by='sample', seed=0)
SEEDS = range(6)


def augments(name):
    """A new config each time: the host appends to the list of ``probs``."""
    mixup, cutmix, resizemix = (
        dict(type=kind, alpha=0.8) for kind in ('Mixup', 'CutMix', 'ResizeMix')
    )
    return {
        'mixup': dict(augments=mixup),
        'cutmix': dict(augments=[cutmix]),
        'resizemix': dict(augments=[resizemix]),
        'mixture': dict(augments=[mixup, cutmix, resizemix]),
        'probs': dict(augments=[mixup, cutmix], probs=[0.3, 0.3]),
    }[name]


NAMES = ['mixup', 'cutmix', 'resizemix', 'mixture', 'probs']


def preprocessed(model, seed):
    np.random.seed(seed)
    torch.manual_seed(seed)
    data = model.data_preprocessor(make_batch(8), training=True)
    scores = torch.stack([s.gt_score for s in data['data_samples']])
    mask = torch.tensor(
        [s.get('reference_masked', False) for s in data['data_samples']]
    )
    return data, scores, mask


@pytest.mark.parametrize('name', NAMES)
def test_reference_and_residual_make_up_the_mixed_image(name):
    host = build_model(type='ImageClassifier', train_cfg=augments(name))
    model = build_model(preprocessor=MASK_SOME, train_cfg=augments(name))
    plain = host.data_preprocessor(make_batch(8))['inputs']
    changed = set()
    for seed in SEEDS:
        expected, expected_scores, _ = preprocessed(host, seed)
        mixed = expected['inputs']
        data, scores, mask = preprocessed(model, seed)
        r, d = data['inputs'].chunk(2, dim=1)
        torch.testing.assert_close((r + d)[~mask], mixed[~mask])
        # the reference is a mixed image too, shown or hidden
        hidden = mixed - d
        distance = (hidden[:, None] - mixed[None]).abs().flatten(2).amax(2)
        assert distance.amin(1).max() < 1e-5
        assert distance.diagonal().min() > 1e-3  # of another one
        assert torch.equal(r[mask], torch.zeros_like(r[mask]))
        assert r[~mask].flatten(1).abs().amax(1).all()
        assert torch.equal(scores, expected_scores)
        changed.add(not torch.equal(mixed, plain))
    assert changed == ({True, False} if name == 'probs' else {True})


@pytest.mark.parametrize(
    'loss',
    [
        dict(type='CrossEntropyLoss', use_soft=True),
        dict(type='CrossEntropyLoss'),
    ],
    ids=['soft', 'default'],
)
@pytest.mark.parametrize('name', NAMES)
def test_masked_rows_are_uniform_and_the_rest_keeps_its_soft_labels(
    name, loss
):
    model = build_model(
        preprocessor=MASK_SOME, head=dict(loss=loss), train_cfg=augments(name)
    )
    shares = []
    for seed in SEEDS:
        data, target, mask = preprocessed(model, seed)
        losses = model(**data, mode='loss')
        target[mask] = 1 / NUM_CLASSES
        expected = F.cross_entropy(model(data['inputs']), target)
        torch.testing.assert_close(losses['loss'], expected)
        assert 'accuracy_top-1' not in losses  # labels are soft
        shares.append(losses['masked_share'].item())
        assert shares[-1] == mask.float().mean().item()
    assert len(set(shares)) > 3


@pytest.mark.parametrize('name', NAMES)
def test_without_masking_the_loss_is_the_plain_run_s(name):
    host = build_model(type='ImageClassifier', train_cfg=augments(name))
    model = build_model(
        preprocessor=dict(mask_prob=0), train_cfg=augments(name)
    )
    model.load_state_dict(host.state_dict())
    for seed in SEEDS:
        ours, theirs = (
            each(**preprocessed(each, seed)[0], mode='loss')['loss']
            for each in (model, host)
        )
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
