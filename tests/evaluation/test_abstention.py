"""Thresholds that keep the error of trusted answers below a level."""

import json

import numpy as np
import pytest
from scipy import stats

from mmanchor.evaluation.abstention import (
    LEVELS,
    find_threshold,
    read_threshold,
    save_threshold,
)


def drawn(count, seed):
    """Confidences that are the probability of being right."""
    rng = np.random.default_rng(seed)
    confidence = rng.uniform(0.5, 1, count)
    return confidence, rng.uniform(size=count) > confidence


def test_the_bound_is_that_of_clopper_and_pearson():
    confidence, wrong = drawn(2000, 0)
    found = find_threshold(confidence, wrong, 0.15)
    trusted = confidence >= found.value
    assert found.trusts(confidence).tolist() == trusted.tolist()
    errors, count = int(wrong[trusted].sum()), int(trusted.sum())
    assert found.error == errors / count
    assert found.coverage == count / 2000
    interval = stats.binomtest(errors, count, alternative='less')
    bound = interval.proportion_ci(1 - 0.05 / LEVELS, 'exact').high
    assert found.bound == pytest.approx(bound) and bound <= 0.15


def test_the_level_holds_on_new_images_more_often_than_promised():
    others = drawn(20000, 999)
    held = 0
    for seed in range(40):
        found = find_threshold(*drawn(1000, seed), 0.2, confidence=0.9)
        held += others[1][found.trusts(others[0])].mean() <= 0.2
    assert held >= 36


def test_a_spread_is_trusted_where_it_is_small():
    confidence, wrong = drawn(2000, 0)
    by_confidence = find_threshold(confidence, wrong, 0.15)
    found = find_threshold(1 - confidence, wrong, 0.15, 'spread')
    assert found.value == pytest.approx(1 - by_confidence.value)
    assert found.coverage == by_confidence.coverage
    assert found.trusts([0.0, 1.0]).tolist() == [True, False]


def test_equal_confidences_are_trusted_together():
    found = find_threshold(np.ones(500), np.arange(500) < 5, 0.1)
    assert found.coverage == 1 and found.error == 0.01


def test_a_level_that_no_threshold_reaches_is_refused_with_the_lowest():
    with pytest.raises(ValueError, match='lowest bound is 0.[0-9]+, of'):
        find_threshold(*drawn(50, 0), 0.01)


@pytest.mark.parametrize(
    'options,message',
    [
        (dict(max_error=0), '`max_error` to be between 0 and 1, but got 0'),
        (dict(confidence=1), '`confidence` to be between 0 and 1, but got 1'),
        (dict(by='entropy'), "among confidence, spread, but got 'entropy'"),
    ],
)
def test_arguments_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        find_threshold(*drawn(50, 0), **{'max_error': 0.5, **options})


def test_without_scipy_the_extra_is_named(without_package):
    without_package('scipy')
    with pytest.raises(ImportError, match=r'mmanchor\[eval\]'):
        find_threshold(*drawn(50, 0), 0.5)


def test_thresholds_are_those_of_a_checkpoint_and_of_its_references(tmp_path):
    checkpoint = tmp_path / 'epoch_6.pth'
    one, three = (find_threshold(*drawn(2000, seed), 0.2) for seed in (1, 3))
    save_threshold(checkpoint, 'abc', 'K = 1', one)
    path = save_threshold(checkpoint, 'abc', 'K = 3', three)
    assert path == tmp_path / 'epoch_6.threshold.json'
    assert read_threshold(checkpoint, 'abc', 'K = 1') == one
    assert read_threshold(checkpoint, 'abc', 'K = 3') == three
    with pytest.raises(ValueError, match='for K = 5 in epoch_6.threshold'):
        read_threshold(checkpoint, 'abc', 'K = 5')
    with pytest.raises(ValueError, match='of this checkpoint'):
        read_threshold(checkpoint, 'def', 'K = 1')
    save_threshold(checkpoint, 'def', 'K = 1', one)
    assert list(json.loads(path.read_text())) == ['sha256', 'K = 1']
