"""Prediction sets, thresholds and vector scaling in suites."""

import csv
import json
from dataclasses import asdict

import numpy as np
import pytest
import torch
from helpers.tiny_suites import measure_digits

from mmanchor.evaluation import find_threshold, fit_prediction_sets
from mmanchor.functional import fit_vector_scaling
from mmanchor.suite.spec import HeldOut, Settings

MORE = "clean['dataset']['indices'] = 200\nheld_out = dict(share=.5)"
ASKED = dict(coverage=0.8, max_error=0.95, vector_scaling=True)


def answers_of(trained, word, held_out):
    """Logits of some of the clean images, and their labels."""
    rows = HeldOut(0.5).rows(200, held_out)
    result, labels = measure_digits(trained, word, rows)
    return result.answers, labels


@pytest.fixture(params=['standard', 'anchored'])
def word(request):
    return request.param


def test_figures_are_those_of_sets_and_thresholds_by_hand(
    outcome, trained, word, monkeypatch
):
    found = outcome(MORE, [word], **ASKED)
    assert found.failed == []
    plain, vector = found.models
    held, held_labels = answers_of(trained, word, True)
    rest, labels = answers_of(trained, word, False)
    scaling = fit_vector_scaling(held, held_labels)
    assert vector['name'] == f'{word}, vector scaling'
    assert plain['vector_scaling']['weight'] == scaling.weight.tolist()
    assert plain['vector_scaling']['after'] == vector['clean']['figures']
    for row, scale in ((plain, lambda one: one), (vector, scaling.apply)):
        on_held = scale(held).softmax(1)
        on_rest = scale(rest).softmax(1)
        figures = row['clean']['figures']
        for method in ('aps', 'raps'):
            sets = fit_prediction_sets(on_held, held_labels, 0.8, method)
            assert row['prediction_sets'][method]['threshold'] == (
                pytest.approx(sets.threshold, rel=1e-4)
            )
            inside = sets.of(on_rest)
            covered = inside[torch.arange(100), labels].double().mean()
            assert figures[f'{method}_coverage'] == pytest.approx(
                covered.item(), abs=0.011
            )
            assert figures[f'{method}_size'] == pytest.approx(
                inside.sum(1).double().mean().item(), abs=0.05
            )
        confidence, predicted = on_held.max(1)
        threshold = find_threshold(
            confidence.numpy(), (predicted != held_labels).numpy(), 0.95
        )
        trusted = on_rest.max(1).values.numpy() >= threshold.value - 1e-6
        assert figures['trusted'] == pytest.approx(trusted.mean(), abs=0.011)
        assert row['abstention']['max_error'] == 0.95
    cells = plain['shifts']['Arrays']['cells']['fog']
    assert set(cells) == {'1', '3'} and 'raps_size_high' in cells['1']
    # found again rather than measured again
    monkeypatch.setattr('mmanchor.suite.runner.measure', None)
    again = outcome(MORE, [word], **ASKED)
    np.testing.assert_equal(asdict(again), asdict(found))


def test_the_report_the_lines_and_the_file_beside_the_checkpoint(
    measured, copied, tmp_path
):
    model = copied()
    plain, _ = measured(model, more=MORE, **dict(ASKED, max_error=0.6))[
        'models'
    ]
    saved = json.loads(
        model[1].with_suffix('.vector_scaling.json').read_text()
    )
    assert saved['plain']['bias'] == plain['vector_scaling']['bias']
    page = (tmp_path / 'out' / 'report.html').read_text()
    for text in (
        'Prediction sets: how often they hold the label, %',
        'Abstaining: how many of the trusted answers are wrong, %',
        'Prediction sets (RAPS) of standard hold the label',
    ):
        assert text in page
    report = (tmp_path / 'out' / 'report.md').read_text()
    assert '## Vector scaling' in report
    with open(tmp_path / 'out' / 'results.csv', newline='') as file:
        lines = {
            (line['set'], line['severity'], line['figure'])
            for line in csv.DictReader(file)
        }
    assert ('Arrays', '3', 'aps_coverage_low') in lines
    assert ('Digits', '0', 'trusted_wrong') in lines


def test_what_held_out_images_do_not_allow_is_named_and_the_rest_goes_on(
    outcome,
):
    found = outcome(coverage=0.9, max_error=0.001)
    reasons = {one['name']: one['reason'] for one in found.failed}
    assert list(reasons) == [
        'prediction sets (APS) on Digits',
        'prediction sets (RAPS) on Digits',
        'threshold on Digits',
    ]
    sets, _, threshold = reasons.values()
    assert 'at least 9 held-out images' in sets and 'but got 4' in sets
    assert 'none of 4 held-out images has one' in threshold
    (row,) = found.models
    assert row['clean']['num_images'] == 36
    assert row['prediction_sets'] is row['abstention'] is None


@pytest.mark.parametrize('name', ['coverage', 'max_error'])
def test_levels_out_of_range_are_refused(name):
    flag = name.replace('_', '-')
    with pytest.raises(ValueError, match=f'--{flag} to be between 0 and 1'):
        Settings(**{name: 1.0})
