"""Prediction sets that are fitted, measured and saved."""

import json

import pytest
import torch

from mmanchor.evaluation import (
    PredictedBatch,
    PredictionSetMetric,
    fit_prediction_sets,
)
from mmanchor.evaluation.confidence_intervals import (
    normal_interval,
    wilson_interval,
)
from mmanchor.evaluation.prediction_sets import (
    read_prediction_sets,
    save_prediction_sets,
)


def drawn(images=400, seed=0):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(images, 5, generator=generator)
    labels = logits.softmax(1).multinomial(1, generator=generator)[:, 0]
    return logits.softmax(1), labels


@pytest.mark.parametrize('method', ['aps', 'raps'])
def test_sets_cover_the_held_out_images_as_often_as_asked(method):
    probabilities, labels = drawn()
    sets = fit_prediction_sets(probabilities, labels, 0.9, method)
    inside = sets.of(probabilities)
    covered = inside[torch.arange(400), labels].double().mean().item()
    assert covered == 361 / 400  # the 361st score of 400 is the threshold
    assert inside[torch.arange(400), probabilities.argmax(1)].all()


def test_the_metric_has_coverage_size_and_their_intervals():
    probabilities, labels = drawn()
    sets = fit_prediction_sets(probabilities, labels, 0.8)
    metric = PredictionSetMetric(sets)
    others, others_labels = drawn(300, seed=1)
    rows = metric.rows_of(
        PredictedBatch(dict(pred_score=others, gt_label=others_labels))
    )
    figures = metric.of_rows(rows)
    inside = sets.of(others)
    covered = inside[torch.arange(300), others_labels].double().mean().item()
    assert figures['raps_coverage'] == pytest.approx(covered)
    assert figures['raps_size'] == inside.sum(1).double().mean().item()
    assert metric.intervals(rows) == dict(
        raps_coverage=wilson_interval(figures['raps_coverage'], 300),
        raps_size=normal_interval(inside.sum(1)),
    )


def test_only_the_classes_that_a_set_has_compete():
    probabilities, labels = drawn()
    metric = PredictionSetMetric(
        fit_prediction_sets(probabilities, labels, 0.8)
    )
    fields = dict(
        pred_score=torch.full((2, 5), 0.2), gt_label=torch.tensor([1, 3])
    )
    batch = PredictedBatch(fields, kept_classes=(1, 3))
    _, size = metric.rows_of(batch).unbind(1)
    assert size.max() <= 2


def test_an_image_with_nan_is_refused_at_the_end():
    probabilities, labels = drawn()
    metric = PredictionSetMetric(
        fit_prediction_sets(probabilities, labels, 0.8)
    )
    probabilities[3] = torch.nan
    rows = metric.rows_of(
        PredictedBatch(dict(pred_score=probabilities, gt_label=labels))
    )
    with pytest.raises(ValueError, match='NaN or infinity for 1 of 400'):
        metric.of_rows(rows)


def test_sets_are_those_of_a_checkpoint_its_references_and_a_coverage(
    tmp_path,
):
    checkpoint = tmp_path / 'epoch_6.pth'
    probabilities, labels = drawn()
    found = {
        coverage: fit_prediction_sets(probabilities, labels, coverage, method)
        for coverage, method in ((0.9, 'raps'), (0.8, 'aps'))
    }
    for sets in found.values():
        path = save_prediction_sets(checkpoint, 'abc', 'K = 1', sets)
    assert path.name == 'epoch_6.sets.json'
    for coverage, sets in found.items():
        read = read_prediction_sets(checkpoint, 'abc', 'K = 1', coverage)
        assert read == sets
    with pytest.raises(ValueError, match='of 0.95 .*none but of 0.9, 0.8'):
        read_prediction_sets(checkpoint, 'abc', 'K = 1', 0.95)
    with pytest.raises(ValueError, match='for K = 3 in epoch_6.sets.json'):
        read_prediction_sets(checkpoint, 'abc', 'K = 3', 0.9)
    with pytest.raises(ValueError, match='--coverage 0.9, and the same'):
        read_prediction_sets(checkpoint, 'def', 'K = 1', 0.9)
    save_prediction_sets(checkpoint, 'def', 'K = 1', found[0.9])
    assert list(json.loads(path.read_text())['K = 1']) == ['0.9']


def test_bad_input_is_refused():
    probabilities, labels = drawn(30)
    with pytest.raises(ValueError, match="among aps, raps, but got 'lac'"):
        fit_prediction_sets(probabilities, labels, 0.9, 'lac')
    with pytest.raises(ValueError, match='between 0 and 1, but got 90'):
        fit_prediction_sets(probabilities, labels, 90)
    with pytest.raises(ValueError, match='at least 99 held-out images'):
        fit_prediction_sets(probabilities, labels, 0.99)
    with pytest.raises(ValueError, match='to be probabilities'):
        fit_prediction_sets(5 * probabilities, labels, 0.9)
    with pytest.raises(ValueError, match='labels from 0 to 4, but got 5'):
        fit_prediction_sets(probabilities, labels + 5 - labels[0], 0.9)
