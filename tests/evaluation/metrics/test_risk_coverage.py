import itertools
import math

import pytest
import torch
from mmpretrain.registry import METRICS

from mmanchor.evaluation import (
    PredictedBatch,
    SelectiveError,
    Threshold,
    risk_coverage,
)
from mmanchor.evaluation.confidence_intervals import wilson_interval


def by_loops(right):
    """AURC of images in this order."""
    return sum(
        right[:n].count(False) / n for n in range(1, len(right) + 1)
    ) / len(right)


def test_by_hand():
    # error rates 0, 1/2, 1/3, 2/4; with both errors last 0, 0, 1/3, 2/4
    found = risk_coverage(
        torch.tensor([0.6, 0.9, 0.5, 0.8]),
        torch.tensor([True, True, False, False]),
    )
    assert found.aurc == pytest.approx((1 / 2 + 1 / 3 + 1 / 2) / 4)
    assert found.excess == pytest.approx(1 / 8)


def test_agrees_with_an_independent_implementation():
    confidence, right = torch.rand(200), torch.rand(200) < 0.7
    ordered = right[confidence.argsort(descending=True)].tolist()
    found = risk_coverage(confidence, right)
    assert found.aurc == pytest.approx(by_loops(ordered))
    best = by_loops(sorted(ordered, reverse=True))
    assert found.excess == pytest.approx(found.aurc - best)


def test_ties_count_as_the_mean_over_all_their_orders():
    confidence = torch.tensor([0.9, 0.5, 0.5, 0.5, 0.5, 0.2])
    right = [True, False, True, True, False, False]
    orders = [
        by_loops([right[0], *middle, right[-1]])
        for middle in itertools.permutations(right[1:5])
    ]
    expected = sum(orders) / len(orders)
    for order in ([0, 1, 2, 3, 4, 5], [5, 4, 2, 1, 3, 0], [2, 3, 0, 5, 1, 4]):
        found = risk_coverage(confidence[order], torch.tensor(right)[order])
        assert found.aurc == pytest.approx(expected)


@pytest.mark.parametrize('right, aurc', [(True, 0), (False, 1)])
def test_all_right_and_all_wrong(right, aurc):
    found = risk_coverage(torch.rand(9), torch.full((9,), right))
    assert found == pytest.approx((aurc, 0))


def test_the_metric_goes_by_the_largest_probability():
    scores = (2 * torch.randn(90, 10)).softmax(1)
    labels = scores.argmax(1).where(torch.rand(90) < 0.6, torch.tensor(3))
    metric = METRICS.build(dict(type='AreaUnderRiskCoverage'))
    samples = [
        dict(pred_score=score, gt_label=label)
        for score, label in zip(scores, labels[:, None])
    ]
    metric.process({}, samples)
    aurc, excess = risk_coverage(scores.amax(1), scores.argmax(1) == labels)
    assert metric.evaluate(90) == {
        'selective/aurc': pytest.approx(aurc),
        'selective/excess_aurc': pytest.approx(excess),
    }


def test_nan_is_refused():
    with pytest.raises(ValueError, match='NaN or infinity for 1 of 2 images'):
        risk_coverage(torch.tensor([math.nan, 1]), torch.tensor([True, True]))


def test_selective_error_counts_what_a_threshold_trusts():
    confidence = torch.tensor([0.9, 0.8, 0.7, 0.6])
    scores = torch.stack([confidence, 1 - confidence], 1)
    threshold = Threshold('confidence', 0.75, 0.1, 0.95, 1, 0, 0, 100)
    metric = SelectiveError(threshold)
    fields = dict(pred_score=scores, gt_label=torch.tensor([0, 1, 1, 0]))
    rows = metric.rows_of(PredictedBatch(fields))
    assert metric.of_rows(rows) == dict(trusted=0.5, trusted_wrong=0.25)
    assert metric.intervals(rows) == dict(
        trusted=wilson_interval(0.5, 4), trusted_wrong=wilson_interval(0.25, 4)
    )


def test_a_threshold_of_spreads_is_no_threshold_of_confidences():
    threshold = Threshold('spread', 0.75, 0.1, 0.95, 1, 0, 0, 100)
    with pytest.raises(ValueError, match='but got one of spread'):
        SelectiveError(threshold)
