import math

import pytest
import torch
from mmpretrain.registry import METRICS
from sklearn.metrics import log_loss

from mmanchor.evaluation import brier_score, negative_log_likelihood
from mmanchor.functional import average_references


def scores_and_labels():
    return (3 * torch.randn(80, 5)).softmax(1), torch.randint(5, (80,))


def by_scikit_learn(scores, labels):
    scores = scores.double()
    scores = scores / scores.sum(1, keepdim=True)  # to double's precision
    return pytest.approx(
        log_loss(labels, scores, labels=range(scores.size(1))), rel=1e-6
    )


def found(name, scores, labels, **more):
    metric = METRICS.build(dict(type=name))
    fields = dict(pred_score=scores, gt_label=labels[:, None], **more)
    rows = range(len(scores))
    samples = [{key: value[i] for key, value in fields.items()} for i in rows]
    metric.process({}, samples)
    (value,) = metric.evaluate(len(scores)).values()
    return value


def test_negative_log_likelihood_is_scikit_learn_s_log_loss():
    scores, labels = scores_and_labels()
    expected = by_scikit_learn(scores, labels)
    assert negative_log_likelihood(scores, labels).mean().item() == expected
    assert found('NegativeLogLikelihood', scores, labels) == expected


def test_brier_score_is_the_sum_over_classes():
    scores, labels = scores_and_labels()
    expected = pytest.approx(
        sum(
            (p - (c == label)) ** 2 / 80
            for row, label in zip(scores.tolist(), labels.tolist())
            for c, p in enumerate(row)
        )
    )
    assert brier_score(scores, labels).mean().item() == expected
    assert found('BrierScore', scores, labels) == expected


def test_by_hand():
    scores = torch.tensor([[0.7, 0.2, 0.1], [0.25, 0.5, 0.25]])
    labels = torch.tensor([0, 2])
    assert negative_log_likelihood(scores, labels).tolist() == pytest.approx(
        [-math.log(0.7), math.log(4)]
    )
    # 0.09 + 0.04 + 0.01, 0.0625 + 0.25 + 0.5625
    assert brier_score(scores, labels).tolist() == pytest.approx([0.14, 0.875])


@pytest.mark.parametrize(
    'dtype, worst', [(torch.float32, 87.33654), (torch.float16, 9.70406)]
)
def test_a_probability_of_zero_counts_as_the_smallest_of_its_type(
    dtype, worst
):
    scores = torch.tensor([[1.0, 0.0]], dtype=dtype)
    found = negative_log_likelihood(scores, torch.tensor([1]))
    assert found.item() == pytest.approx(worst)


def test_the_answer_is_judged_and_not_the_mean_logits():
    logits = 4 * torch.randn(6, 80, 5)  # for six references
    labels = torch.randint(5, (80,))
    scores = average_references(logits, 'probabilities').softmax(1)
    value = found(
        'NegativeLogLikelihood', scores, labels, pred_logits=logits.mean(0)
    )
    assert value == by_scikit_learn(scores, labels)
    assert value != by_scikit_learn(logits.mean(0).softmax(1), labels)


@pytest.mark.parametrize('function', [negative_log_likelihood, brier_score])
def test_functions_refuse_what_metrics_refuse(function):
    scores, labels = torch.full((2, 3), 1 / 3), torch.tensor([0, 1])
    with pytest.raises(ValueError, match='NaN or infinity for 1 of 2 images'):
        function(scores.clone().index_fill_(0, labels[:1], math.nan), labels)
    with pytest.raises(ValueError, match='labels from 0 to 2, but got -1'):
        function(scores, labels - 1)
    with pytest.raises(ValueError, match='one image or more, but got none'):
        function(scores[:0], labels[:0])
