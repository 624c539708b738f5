"""The control: a plain model that trains on differences of images."""

import copy

import pytest
import torch
from helpers.builders import NUM_CLASSES, build_model, image_bytes, make_batch
from mmpretrain.models import ClsDataPreprocessor

from mmanchor.models import (
    AnchoringDataPreprocessor,
    SubtractiveMixDataPreprocessor,
)
from mmanchor.models.masked_norm_stats import MASKED_NORM_STATS

HOST = dict(
    mean=[120.0] * 3, std=[60.0] * 3, to_rgb=True, num_classes=NUM_CLASSES
)


def preprocessor(kind=SubtractiveMixDataPreprocessor, **kwargs):
    return kind(**{'seed': 0, **HOST, **kwargs})


def control(**kwargs):
    return build_model(type='SubtractiveMixImageClassifier', **kwargs)


def masks(batch):
    return [sample.reference_masked for sample in batch['data_samples']]


def train_batch(model, count=8):
    """Losses of one training batch, as the host computes them."""
    data = model.data_preprocessor(make_batch(count), training=True)
    return model(**data, mode='loss')


def running(model):
    """Copies of all running statistics."""
    return {
        name: value.clone()
        for name, value in model.named_buffers()
        if 'running' in name
    }


def test_without_subtracting_losses_and_gradients_are_the_hosts():
    host = build_model(
        type='ImageClassifier', preprocessor=dict(type='ClsDataPreprocessor')
    )
    model = control(preprocessor=dict(mask_prob=0))
    model.load_state_dict(host.state_dict())
    losses = [train_batch(one)['loss'] for one in (host, model)]
    assert torch.equal(*losses)
    for loss in losses:
        loss.backward()
    gradients = dict(model.named_parameters())
    for name, parameter in host.named_parameters():
        assert torch.equal(parameter.grad, gradients[name].grad), name
    statistics = running(model)
    for name, value in running(host).items():
        assert torch.equal(value, statistics[name]), name


def test_masked_rows_are_differences_from_another_row_with_their_labels():
    images = ClsDataPreprocessor(**HOST)(dict(inputs=image_bytes(6)))['inputs']
    out = preprocessor(mask_prob=1)(make_batch(6), training=True)
    references = images - out['inputs']
    same = torch.isclose(references[:, None], images[None], atol=1e-5)
    same = same.flatten(2).all(2)
    assert same.sum(1).eq(1).all()  # each is an image of the batch
    assert not same.diagonal().any()  # and never the image itself
    assert masks(out) == [True] * 6
    assert [int(s.gt_label) for s in out['data_samples']] == list(range(6))


@pytest.mark.parametrize('mask_by', ['batch', 'sample'])
def test_draws_are_those_of_anchoring(mask_by):
    kwargs = dict(mask_prob=0.5, mask_by=mask_by)
    plain = preprocessor(**kwargs)
    anchoring = preprocessor(AnchoringDataPreprocessor, **kwargs)
    seen = set()
    for _ in range(6):
        mixed = plain(make_batch(8), training=True)
        anchored = anchoring(make_batch(8), training=True)
        assert masks(mixed) == masks(anchored)
        seen.update(masks(mixed))
        images = ClsDataPreprocessor(**HOST)(make_batch(8))['inputs']
        residuals = anchored['inputs'][:, 3:]
        rows = torch.tensor(masks(mixed))
        assert torch.equal(mixed['inputs'][rows], residuals[rows])
        assert torch.equal(mixed['inputs'][~rows], images[~rows])
    assert seen == {False, True}


def test_a_checkpoint_continues_the_draws():
    first, second = (preprocessor(mask_prob=0.5) for _ in range(2))
    for _ in range(3):
        first(make_batch(8), training=True)
    second.load_state_dict(first.state_dict())
    for _ in range(4):
        one, other = (
            each(make_batch(8), training=True) for each in (first, second)
        )
        assert masks(one) == masks(other)
        assert torch.equal(one['inputs'], other['inputs'])


def test_testing_leaves_images_as_they_are():
    expected = ClsDataPreprocessor(**HOST)(make_batch(3))['inputs']
    out = preprocessor(mask_prob=1)(make_batch(3))
    assert torch.equal(out['inputs'], expected)
    assert 'reference_masked' not in out['data_samples'][0]


def moved(before, after):
    return [not torch.equal(before[name], after[name]) for name in before]


@pytest.mark.parametrize('stats', MASKED_NORM_STATS)
def test_batches_of_differences_move_running_statistics_where_asked(stats):
    model = control(masked_norm_stats=stats, preprocessor=dict(mask_prob=1))
    before = running(model)
    train_batch(model)['loss'].backward()
    after = running(model)
    assert moved(before, after) == [stats == 'update'] * len(before)
    model.data_preprocessor.mask_prob = 0.0
    train_batch(model)
    assert all(moved(after, running(model)))


def test_one_row_that_is_no_difference_moves_running_statistics():
    model = control(preprocessor=dict(mask_prob=1))
    data = model.data_preprocessor(make_batch(8), training=True)
    data['data_samples'][3].reference_masked = False
    before = running(model)
    model(**data, mode='loss')
    assert all(moved(before, running(model)))


def test_predictions_are_the_hosts():
    host = build_model(
        type='ImageClassifier', preprocessor=dict(type='ClsDataPreprocessor')
    )
    model = control()
    model.load_state_dict(copy.deepcopy(host.state_dict()))
    one, other = (
        [sample.pred_score for sample in each.eval().test_step(make_batch(4))]
        for each in (host, model)
    )
    assert all(map(torch.equal, one, other)) and len(one) == 4


def test_other_preprocessors_and_words_are_refused():
    with pytest.raises(
        TypeError, match='SubtractiveMixDataPreprocessor, but got Cls'
    ):
        control(preprocessor=dict(type='ClsDataPreprocessor'))
    with pytest.raises(
        TypeError, match='AnchoringDataPreprocessor, but got Subtractive'
    ):
        build_model(preprocessor=dict(type='SubtractiveMixDataPreprocessor'))
    with pytest.raises(ValueError, match="'skip' or 'update', but got 'no'"):
        control(masked_norm_stats='no')
    with pytest.raises(
        TypeError, match='of SubtractiveMixDataPreprocessor .* mean .mask_prob'
    ):
        preprocessor(mask_probability=0.5)
