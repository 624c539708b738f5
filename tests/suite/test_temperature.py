"""Temperatures are fitted on held-out images, which are never tested."""

from dataclasses import asdict

import numpy as np
import pytest
import torch
from helpers.tiny_suites import measure_digits

from mmanchor.functional import fit_temperature
from mmanchor.suite.corrupted_sets import clean_mask
from mmanchor.suite.images import ImageBatches
from mmanchor.suite.runner import ModelEvaluator
from mmanchor.suite.spec import HeldOut

MORE = "clean['dataset']['indices'] = 200\nheld_out = dict(share=.25, seed=3)"
HELD = HeldOut(0.25, 3)
ARRAYS = 20  # images of each severity
CELLS = 4  # pairs of a kind and a severity


@pytest.mark.parametrize('word', ['standard', 'anchored'])
def test_before_and_after(outcome, trained, word):
    found = outcome(MORE, [word], temperature=True)
    assert found.failed == []
    before, after = found.models
    held, labels = measure_digits(trained, word, HELD.rows(200, True))
    fitted = before['temperature']
    assert fitted['temperature'] == fit_temperature(held.answers, labels)
    about = dict(num_images=50, share=0.25, seed=3)
    assert about.items() <= fitted.items()
    assert after['name'] == f'{word}, T = {fitted["temperature"]:.2f}'
    assert before['logits_divided_by'] == 1
    assert after['logits_divided_by'] == fitted['temperature']
    assert after['temperature'] is None
    assert fitted['before'] == before['clean']['figures']
    assert fitted['after'] == after['clean']['figures']

    rest, labels = measure_digits(trained, word, HELD.rows(200, False))
    assert before['clean']['num_images'] == len(labels) == 150
    assert before['clean']['figures'] == pytest.approx(rest.figures)
    scaled = (rest.answers / fitted['temperature']).log_softmax(1).double()
    nll = -scaled[torch.arange(150), labels].mean().item()
    assert fitted['after']['nll'] == pytest.approx(nll, rel=1e-5)
    assert fitted['after']['top1'] == fitted['before']['top1']


def test_shifts_and_scores_come_with_it(outcome):
    before, after = outcome(MORE, ['anchored'], temperature=True).models
    one, other = before['clean']['figures'], after['clean']['figures']
    assert one['spread'] == other['spread'] > 0 and one['ece'] != other['ece']
    one, other = (row['shifts']['Arrays']['mean'] for row in (before, after))
    assert one['top1'] == other['top1'] and one['nll'] != other['nll']
    one, other = (
        row['ood']['Photographs']['scores'] for row in (before, after)
    )
    assert one['energy'] == other['energy']  # scores of logits don't change
    assert one['msp'] != other['msp']


def test_copies_of_images_that_are_held_out_are_left_out(
    outcome, monkeypatch, tmp_path
):
    """The corrupted set has copies of some of the clean images."""
    seen = {}
    inner = ModelEvaluator.batches

    def batches(self, cell, *args, **options):
        found = inner(self, cell, *args, **options)
        seen[str(cell)] = found.rows
        return found

    monkeypatch.setattr(ModelEvaluator, 'batches', batches)
    made = """
shifts = [
    dict(
        name='Made',
        dataset=dict(type='CorruptedArrays', data_root='made'),
        steps=[dict(type='Resize', scale=16, interpolation='bicubic')],
        kinds=['contrast'],
        severities=[5],
        make=True,
        images=60)
]
"""
    row = outcome(MORE + made, temperature=True).models[0]
    mask = clean_mask(tmp_path / 'data' / 'made')
    copies = np.flatnonzero(mask)
    rest = HELD.rows(200, False)
    rows = seen['Made, contrast, severity 5']
    assert np.array_equal(copies[rows], np.intersect1d(copies, rest))
    assert 0 < len(rows) < 60
    assert sum(row['shifts']['Made']['reliability']['count']) == len(rows)


def test_a_temperature_is_read_back_and_another_draw_fitted_again(
    outcome, monkeypatch
):
    first = outcome(MORE, temperature=True)
    with monkeypatch.context() as patch:
        patch.setattr('mmanchor.suite.runner.measure', None)
        again = outcome(MORE, temperature=True)
        np.testing.assert_equal(asdict(again), asdict(first))
    for change, count in (('seed=4', 50), ('share=.5', 100)):
        more = MORE + f'\nheld_out.update({change})\nshifts = ood = []'
        fitted = outcome(more, temperature=True).models[0]['temperature']
        before = first.models[0]['temperature']
        assert fitted['temperature'] != before['temperature']
        assert fitted['num_images'] == count


def test_held_out_images_are_never_tested(outcome, monkeypatch):
    seen = []
    select = ImageBatches.select
    monkeypatch.setattr(
        ImageBatches,
        'select',
        lambda self, rows: (seen.append(rows), select(self, rows)),
    )
    outcome(
        MORE + "\nood[0]['dataset'].update("
        'metainfo=dict(kept_classes=tuple(range(10))))',
        temperature=True,
    )
    held, *tested = seen
    assert np.array_equal(held, HELD.rows(200, True))
    # the clean set: all classes, and those of the OOD set
    clean = [rows for rows in tested if rows.max() >= ARRAYS]
    assert len(clean) == 2
    for rows in clean:
        assert np.array_equal(rows, HELD.rows(200, False))
    # corrupted arrays are copies of clean images, so the same are left out
    arrays = [rows for rows in tested if rows.max() < ARRAYS]
    assert len(arrays) == CELLS
    for rows in arrays:
        assert np.array_equal(rows, HELD.rows(ARRAYS, False))
