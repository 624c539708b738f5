import math

import pytest
import torch

from mmanchor import evaluation
from mmanchor.evaluation.metrics.anomaly_rejection import anomaly_rejection
from mmanchor.evaluation.metrics.predicted_batch import PredictedBatch
from mmanchor.evaluation.metrics.risk_coverage import risk_coverage
from mmanchor.functional import fit_temperature

OF_PROBABILITIES = [
    evaluation.calibration_error,
    evaluation.smoothed_calibration_error,
    evaluation.negative_log_likelihood,
    evaluation.brier_score,
]
of_probabilities = pytest.mark.parametrize('metric', OF_PROBABILITIES)
LOGITS = torch.tensor([[2.0, 0.0, 1.0], [0.0, 3.0, 0.5], [1.0, 1.0, 0.0]])
LABELS = torch.tensor([0, 1, 2])


@of_probabilities
@pytest.mark.parametrize(
    'change',
    [
        lambda scores: LOGITS,
        lambda scores: 100 * scores,
        lambda scores: scores.log(),
        lambda scores: scores / 2,
    ],
)
def test_what_are_no_probabilities_is_refused(metric, change):
    with pytest.raises(ValueError, match=r'softmax\(1\)'):
        metric(change(LOGITS.softmax(1)), LABELS)


@of_probabilities
@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_probabilities_rounded_to_half_precision_are_accepted(metric, dtype):
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(8, 1000, generator=generator).softmax(1).to(dtype)
    value = torch.as_tensor(metric(scores, torch.arange(8)))
    assert value.isfinite().all()


@of_probabilities
def test_labels_are_as_many_as_rows_and_of_any_width(metric):
    scores = LOGITS.softmax(1)
    for labels in (LABELS[:1], LABELS[:2], LABELS[:, None]):
        with pytest.raises(ValueError, match=r'shape \(N,\)'):
            metric(scores, labels)
    expected = torch.as_tensor(metric(scores, LABELS))
    for dtype in (torch.uint8, torch.int16, torch.int32):
        found = torch.as_tensor(metric(scores, LABELS.to(dtype)))
        assert torch.equal(found, expected)


@pytest.mark.parametrize('metric', [*OF_PROBABILITIES, fit_temperature])
@pytest.mark.parametrize('dtype', [torch.float32, torch.bool])
def test_labels_that_are_no_integers_are_refused(metric, dtype):
    with pytest.raises(TypeError, match='`labels` to be integers'):
        metric(LOGITS.softmax(1), LABELS.to(dtype))


@of_probabilities
def test_integer_scores_are_refused(metric):
    with pytest.raises(TypeError, match='floating-point'):
        metric(torch.eye(3, dtype=torch.uint8), LABELS)


@pytest.mark.parametrize('num_bins', [0, 2.5, True, '15'])
def test_a_number_of_bins_is_a_positive_integer(num_bins):
    with pytest.raises(ValueError, match='`num_bins`'):
        evaluation.CalibrationError(num_bins=num_bins)
    with pytest.raises(ValueError, match='`num_bins`'):
        evaluation.calibration_error(LOGITS.softmax(1), LABELS, num_bins)


def test_the_norm_of_the_function_is_checked_too():
    with pytest.raises(ValueError, match='`norms`.*l3'):
        evaluation.calibration_error(LOGITS.softmax(1), LABELS, norm='l3')


def test_bytes_do_not_wrap():
    scores = torch.tensor([0, 1, 200, 255], dtype=torch.uint8)
    is_ood = torch.tensor([False, False, True, True])
    for positive in ('id', 'ood'):
        found = anomaly_rejection(scores, is_ood, positive)
        assert found == dict(auroc=1, aupr=1, fpr95=0)
    assert risk_coverage(scores, is_ood).excess == 0


@pytest.mark.parametrize('function', [anomaly_rejection, risk_coverage])
def test_one_number_an_image_and_as_many_flags(function):
    for flags in (torch.ones(1), torch.ones(3, 1)):
        with pytest.raises(ValueError, match=r'shape \(N,\)'):
            function(torch.rand(3), flags.bool())


def batch(logits, kept=(1, 2, 3), **fields):
    logits = torch.tensor(logits)
    given = dict(
        pred_logits=logits,
        pred_score=logits.softmax(1),
        gt_label=torch.full(logits.shape[:1], 2),
    )
    return PredictedBatch(dict(given, **fields), kept)


@pytest.mark.parametrize('gap', [10.0, 103.0, 110.0, 500.0])
def test_kept_classes_do_not_feel_how_far_a_dropped_one_is_ahead(gap):
    found = batch([[gap, 0.0, 0.3, -0.5]])
    expected = torch.tensor([[0.0, 0.3, -0.5]]).softmax(1)
    torch.testing.assert_close(found['pred_score'], expected)
    nll = evaluation.negative_log_likelihood(found['pred_score'], found.labels)
    assert nll.item() == pytest.approx(0.784, abs=1e-3)


def test_other_averages_than_logits_stay_what_they_are():
    scores = torch.tensor([[0.4, 0.3, 0.2, 0.1]])
    found = batch([[5.0, 0.0, 0.3, -0.5]], pred_score=scores)
    torch.testing.assert_close(found['pred_score'], scores[:, 1:] / 0.6)


def test_underflow_without_logits_is_refused_by_its_cause():
    scores = torch.tensor([[1.0, 0.0, 0.0]])
    fields = dict(pred_score=scores, gt_label=torch.tensor([1]))
    found = PredictedBatch(fields, (1, 2))
    with pytest.raises(ValueError, match='for 1 images: they underflowed'):
        found['pred_score']


@pytest.mark.parametrize('name', ['msp', 'entropy'])
def test_saturated_probabilities_keep_their_order(name):
    gaps = [20.0, 40.0, 80.0, 160.0, 320.0]
    found = batch([[gap, 0.0, 0.0, 0.0] for gap in gaps], kept=None)
    assert (found['pred_score'][:, 0] == 1).all()
    score = evaluation.find_score(name)
    values = score.function(found[score.field]).tolist()
    assert values == sorted(values, reverse=True)
    assert len(set(values)) == 5
    assert all(map(math.isfinite, values))
