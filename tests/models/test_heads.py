import math
import pickle

import pytest
import torch
from helpers.builders import NUM_CLASSES, model_config
from mmengine.model import BaseModel
from mmengine.registry import Registry
from mmpretrain.evaluation import Accuracy
from mmpretrain.models import heads as host_heads
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample

from mmanchor.functional import uniform_cross_entropy
from mmanchor.models.heads import (
    ReferenceMasking,
    mask_head,
    reference_masking,
)

OF_EIGHT = dict(num_classes=10, in_channels=8)
# name -> config, shapes of features, of a batch of 4
HEADS = {
    'ClsHead': (dict(), 10),
    'LinearClsHead': (OF_EIGHT, 8),
    'VisionTransformerClsHead': (OF_EIGHT, 8),
    'StackedLinearClsHead': (dict(OF_EIGHT, mid_channels=[6]), 8),
    'ConformerHead': (dict(num_classes=10, in_channels=[8, 6]), [8, 6]),
    'DeiTClsHead': (OF_EIGHT, [8, 8]),
    'EfficientFormerClsHead': (dict(OF_EIGHT, distillation=False), 8),
    'LeViTClsHead': (dict(OF_EIGHT, distillation=False), 8),
    'VigClsHead': (dict(OF_EIGHT, hidden_dim=6), 8),
}


def samples(mask, soft=False):
    made = []
    for i, masked in enumerate(mask):
        sample = DataSample().set_gt_label(i)
        sample.set_field(masked, 'reference_masked', dtype=bool)
        if soft:
            sample.set_gt_score(torch.full((10,), 0.1))
        made.append(sample)
    return made


def build(name, **kwargs):
    torch.manual_seed(0)
    config, width = HEADS[name]
    head = MODELS.build(
        dict(type=f'ReferenceMasking{name}', **config, **kwargs)
    )
    head.eval()  # batch norm and dropout would differ between calls
    if isinstance(width, list):
        return head, ([torch.randn(4, one) for one in width],)
    return head, (torch.randn(4, width, requires_grad=name == 'ClsHead'),)


@pytest.mark.parametrize('name', HEADS)
def test_unmasked_batch_has_the_host_head_loss_and_gradients(name):
    head, feats = build(name)
    host = MODELS.build(dict(type=name, **HEADS[name][0])).eval()
    host.load_state_dict(head.state_dict())  # keys are the host's
    ours = head.loss(feats, samples([False] * 4))['loss']
    theirs = host.loss(feats, samples([False] * 4))['loss']
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)
    ours.backward(), theirs.backward()
    for a, b in zip(head.parameters(), host.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=0, atol=1e-6)


@pytest.mark.parametrize('name', HEADS)
def test_masked_rows_answer_to_the_uniform_target(name):
    head, feats = build(name)
    mask = [True, False, True, False]
    losses = head.loss(feats, samples(mask))
    scores = head(feats)
    parts = scores if isinstance(scores, tuple) else (scores,)
    expected = sum(
        (
            uniform_cross_entropy(part[[0, 2]]).sum()
            + torch.nn.functional.cross_entropy(
                part[[1, 3]], torch.tensor([1, 3]), reduction='sum'
            )
        )
        / 4
        for part in parts
    )
    torch.testing.assert_close(losses['loss'], expected)
    assert losses['masked_share'] == 0.5
    whole = head.loss(feats, samples([True] * 4))
    assert whole['loss'] >= math.log(10) * len(parts) - 1e-6
    assert 'accuracy_top-1' not in whole


@pytest.mark.parametrize('name', HEADS)
def test_prediction_is_the_host_head_prediction(name):
    head, feats = build(name)
    host = MODELS.build(dict(type=name, **HEADS[name][0])).eval()
    host.load_state_dict(head.state_dict())
    ours, theirs = head.predict(feats), host.predict(feats)
    assert len(ours) == 4
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a.pred_score, b.pred_score)
        assert torch.equal(a.pred_label, b.pred_label)
        torch.testing.assert_close(a.pred_logits.softmax(0), b.pred_score)
        assert a.pred_std.abs().max() == 0


def test_k_references_are_folded_into_one_prediction_an_image():
    head, _ = build('LinearClsHead')
    logits = torch.randn(3, 4, 10)
    given = samples([False] * 4)
    out = head.predict_from_logits(logits, given, 'probabilities')
    assert out[2] is given[2]
    torch.testing.assert_close(out[2].pred_logits, logits[:, 2].mean(0))
    torch.testing.assert_close(
        out[2].pred_score, logits[:, 2].softmax(1).mean(0)
    )
    torch.testing.assert_close(
        out[2].pred_std, logits[:, 2].std(0, correction=0)
    )


def test_accuracy_leaves_masked_rows_out():
    head, _ = build('ClsHead', cal_acc=True)
    scores = 5 * torch.eye(10)[[0, 1, 9, 3]]  # row 2 is wrong
    losses = head.loss((scores,), samples([False, False, True, False]))
    assert losses['accuracy_top-1'][0] == 100
    losses = head.loss((scores,), samples([True, False, False, True]))
    assert losses['accuracy_top-1'][0] == 50
    assert head.cal_acc


@pytest.mark.parametrize('mask', [[False] * 4, [True, False, False, False]])
def test_logged_accuracy_is_the_hosts_for_rows_that_are_not_masked(mask):
    head, _ = build('ClsHead', topk=(1, 3))
    scores = torch.randn(4, 10) - 1  # some rows have negative scores only
    losses = head.loss((scores,), samples(mask))
    rest = ~torch.tensor(mask)
    expected = Accuracy.calculate(
        scores[rest], torch.arange(4)[rest], topk=(1, 3)
    )
    for k, value in zip((1, 3), expected, strict=True):
        assert torch.equal(losses[f'accuracy_top-{k}'][0], value[0])


def test_too_few_classes_for_the_accuracy_asked_for_are_refused():
    head, _ = build('ClsHead', topk=(1, 11), cal_acc=True)
    with pytest.raises(ValueError, match='the 10 classes, but got 11'):
        head.loss((torch.randn(4, 10),), samples([False] * 4))


def test_log_tells_whether_masked_rows_say_dont_know():
    head, _ = build('ClsHead')
    scores = torch.zeros(4, 10)
    scores[1] = 50 * torch.eye(10)[4]
    unsure = head.loss((scores,), samples([True, False, True, True]))
    assert unsure['masked_entropy'] == pytest.approx(1)
    sure = head.loss((scores,), samples([False, True, False, False]))
    assert sure['masked_entropy'] < 1e-6
    assert 'masked_entropy' not in head.loss((scores,), samples([False] * 4))


def test_logged_keys_are_not_added_up_as_losses():
    head, feats = build('LinearClsHead')
    losses = head.loss(feats, samples([True, False, True, False]))
    total, _ = BaseModel.parse_losses(None, losses)
    assert torch.equal(total, losses['loss'])


def test_soft_labels_with_and_without_cal_acc():
    head, feats = build(
        'LinearClsHead', loss=dict(type='CrossEntropyLoss', use_soft=True)
    )
    losses = head.loss(feats, samples([True, False] * 2, soft=True))
    assert losses['loss'] > 0
    assert 'accuracy_top-1' not in losses
    head.cal_acc = True
    with pytest.raises(ValueError, match='hard labels where `cal_acc=True`'):
        head.loss(feats, samples([True, False] * 2, soft=True))


def test_masked_target_label_keeps_the_labels():
    head, feats = build('LinearClsHead', masked_target='label')
    masked = head.loss(feats, samples([True] * 4))
    assert masked['loss'] == head.loss(feats, samples([False] * 4))['loss']
    assert masked['masked_share'] == 1


@pytest.mark.parametrize('topk', [(1, 5), (1,)])
def test_fewer_classes_than_topk(topk):
    config = dict(num_classes=3, in_channels=8, topk=topk)
    head = MODELS.build(dict(type='ReferenceMaskingLinearClsHead', **config))
    losses = head.loss((torch.randn(3, 8),), samples([False] * 3))
    logged = [key for key in losses if key.startswith('accuracy')]
    assert logged == ['accuracy_top-1']


def test_half_precision_is_logged_in_full():
    head, _ = build('ClsHead')
    scores = torch.randn(4, 10).bfloat16()
    losses = head.loss((scores,), samples([True, False] * 2))
    assert losses['masked_entropy'].dtype == torch.float32


def test_a_users_masked_head_can_be_pickled():
    head = MODELS.build(
        mask_head(dict(type='UsersHead', num_classes=3, in_channels=8))
    )
    feats = (torch.randn(2, 8),)
    again = pickle.loads(pickle.dumps(head))
    assert type(again) is type(head)
    assert torch.equal(again(feats), head(feats))


def test_loss_may_be_a_masking_one_already():
    head, _ = build(
        'LinearClsHead', loss=dict(type='ReferenceMaskingLoss', target='label')
    )
    assert head.loss_module.target == 'label'
    assert not hasattr(head.loss_module.loss, 'target')
    with pytest.raises(ValueError, match='but got both. Drop `masked_targ'):
        build(
            'LinearClsHead',
            masked_target='label',
            loss=dict(type='ReferenceMaskingLoss'),
        )
    with pytest.raises(ValueError, match="'uniform', 'label', or .* got 'x'"):
        build('LinearClsHead', masked_target='x')


@MODELS.register_module()
class UsersHead(host_heads.LinearClsHead):
    """A head of somebody's own, with a prediction of its own."""

    def predict(self, feats, data_samples=None):
        return self._get_predictions(2 * self(feats), data_samples)


def test_a_users_head_is_masked_by_name_class_or_instance():
    config = dict(num_classes=NUM_CLASSES, in_channels=8)
    feats = (torch.randn(4, 8),)
    for given in (
        dict(type='UsersHead', **config),
        dict(type=UsersHead, **config),
        UsersHead(**config),
    ):
        head = mask_head(given)
        if isinstance(head, dict):
            head = MODELS.build(head)
        assert isinstance(head, ReferenceMasking)
        assert isinstance(head, UsersHead)
        torch.testing.assert_close(head.logits(feats), 2 * head(feats))
        assert mask_head(head) is head
    assert reference_masking(type(head)) is type(head)
    assert mask_head(None) is None


@pytest.mark.parametrize(
    'name',
    [
        'MultiTaskHead',
        'MultiLabelClsHead',
        'MultiLabelLinearClsHead',
        # the fork's only
        *{'LinearRegressionHead'}.intersection(vars(host_heads)),
    ],
)
def test_heads_without_one_softmax_are_refused(name):
    with pytest.raises(TypeError, match=f'one softmax.*got {name}'):
        mask_head(dict(type=name))


@MODELS.register_module()
class PlainSignatureHead(host_heads.LinearClsHead):
    """Takes no other arguments than it needs."""

    def loss(self, feats, data_samples):
        return self._get_loss(self(feats), data_samples)

    def _get_loss(self, cls_score, data_samples):
        target = torch.cat([sample.gt_label for sample in data_samples])
        return dict(loss=self.loss_module(cls_score, target))


def test_a_users_head_need_not_know_of_masks():
    config = dict(num_classes=NUM_CLASSES, in_channels=8)
    head = MODELS.build(mask_head(dict(type='PlainSignatureHead', **config)))
    feats = (torch.randn(4, 8),)
    mask = [True, False, True, True]
    losses = head.loss(feats, samples(mask))
    scores = head(feats)
    masked = uniform_cross_entropy(scores[torch.tensor(mask)]).sum()
    label = samples(mask)[1].gt_label
    rest = torch.nn.functional.cross_entropy(scores[1:2], label)
    torch.testing.assert_close(losses['loss'], (masked + rest) / 4)
    assert losses['masked_share'] == 0.75
    assert head.loss_module.reference_masked is None  # not for later batches


def test_a_head_that_only_the_host_finds_is_masked():
    registry = Registry('model', parent=MODELS, scope='elsewhere')
    registry.register_module(name='ElsewhereHead', module=UsersHead)
    config = model_config()
    config['head'].update(type='ElsewhereHead', _scope_='elsewhere')
    head = MODELS.build(config).head
    assert isinstance(head, ReferenceMasking) and isinstance(head, UsersHead)


@MODELS.register_module()
class DirectHead(host_heads.LinearClsHead):
    """Its loss takes a way of its own."""

    def loss(self, feats, data_samples, **kwargs):
        return dict(loss=self(feats).mean())


def test_a_head_that_would_ignore_masks_is_refused():
    head = MODELS.build(
        mask_head(dict(type='DirectHead', num_classes=3, in_channels=8))
    )
    with pytest.raises(TypeError, match='`loss` of DirectHead to go through'):
        head.loss((torch.randn(2, 8),), samples([True] * 2))


def test_an_unknown_head_is_left_to_the_host():
    with pytest.raises(KeyError, match='NoHead'):
        MODELS.build(mask_head(dict(type='NoHead')))


def test_a_head_without_num_classes_is_refused_by_that_name():
    with pytest.raises(TypeError, match="LinearClsHead.*'num_classes'"):
        MODELS.build(mask_head(dict(type='LinearClsHead', in_channels=8)))


def test_one_logit_is_refused():
    config = dict(type='LinearClsHead', num_classes=1, in_channels=8)
    with pytest.raises(ValueError, match='`num_classes` of .*, but got 1. Se'):
        MODELS.build(mask_head(config))
    with pytest.raises(ValueError, match='`num_classes` of .*, but got 1. Se'):
        mask_head(MODELS.build(config))
    head = MODELS.build(dict(type='ReferenceMaskingClsHead'))  # of any number
    with pytest.raises(ValueError, match=r'two classes.*= \(2, 1\). Set'):
        head.loss((torch.zeros(2, 1),), samples([True, True]))
