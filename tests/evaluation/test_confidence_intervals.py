"""Confidence intervals against other implementations."""

import numpy as np
import pytest
import torch
from scipy import stats

from mmanchor.evaluation.confidence_intervals import (
    auroc_difference,
    auroc_interval,
    normal_interval,
    paired_interval,
    rank_correlation,
    wilson_interval,
)


@pytest.mark.parametrize('right', [0, 1, 37, 99, 100])
def test_intervals_of_shares_are_wilson_s(right):
    expected = stats.binomtest(right, 100).proportion_ci(0.95, 'wilson')
    found = wilson_interval(right / 100, 100)
    assert found == pytest.approx(tuple(expected), abs=1e-12)


def test_intervals_of_means_are_normal():
    values = torch.rand(50)
    expected = stats.norm.interval(
        0.95, values.double().mean(), stats.sem(values.double())
    )
    assert normal_interval(values) == pytest.approx(expected)
    assert normal_interval(torch.ones(3)) == (1.0, 1.0)
    assert normal_interval(torch.ones(1)) is None


def test_intervals_of_areas_are_delong_s():
    rng = np.random.default_rng(0)
    inside = rng.integers(0, 10, 40).astype(float)  # with ties
    outside = rng.integers(4, 14, 30).astype(float)
    wins = (outside[:, None] > inside) + 0.5 * (outside[:, None] == inside)
    variance = wins.mean(1).var(ddof=1) / len(outside) + wins.mean(0).var(
        ddof=1
    ) / len(inside)
    expected = stats.norm.interval(0.95, wins.mean(), np.sqrt(variance))
    assert auroc_interval(inside, outside) == pytest.approx(expected)


def test_intervals_of_areas_stay_within_bounds():
    assert auroc_interval(np.arange(5.0), np.arange(3.0, 9.0))[1] == 1
    assert auroc_interval(np.arange(5.0), np.ones(1)) is None


def test_paired_intervals_are_those_of_agresti_and_min():
    only_first, only_second, count = 12, 5, 200
    differences = np.zeros(count)
    differences[:only_first], differences[-only_second:] = 1, -1
    b, c, n = only_first + 0.5, only_second + 0.5, count + 2
    expected = stats.norm.interval(
        0.95, (b - c) / n, np.sqrt(b + c - (b - c) ** 2 / n) / n
    )
    assert paired_interval(differences) == pytest.approx(expected)
    low, high = paired_interval(np.zeros(10))
    assert low < 0 < high
    assert paired_interval(np.zeros(0)) is None


def test_scores_of_the_same_images_are_compared_in_pairs():
    rng = np.random.default_rng(0)
    inside, outside = rng.normal(0, 1, 60), rng.normal(1, 1, 60)
    noise = rng.normal(0, 0.1, (2, 60))
    other = inside + noise[0], outside + noise[1]
    mean, low, high = auroc_difference((inside, outside), other)
    areas = [
        (one[1][:, None] > one[0]).mean() for one in ((inside, outside), other)
    ]
    assert mean == pytest.approx(areas[0] - areas[1])
    ends = auroc_interval(inside, outside)
    assert high - low < 0.5 * (ends[1] - ends[0])  # the images are the same
    # without a relation, variances add up
    other = rng.permutation(inside), rng.permutation(outside)
    _, low, high = auroc_difference((inside, outside), other)
    assert high - low == pytest.approx(2**0.5 * (ends[1] - ends[0]), rel=0.15)
    assert auroc_difference((inside, np.ones(1)), other) is None


def test_intervals_hold_the_true_value_as_often_as_they_say():
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(400):
        inside, outside = rng.normal(0, 1, 60), rng.normal(1, 1, 60)
        low, high = auroc_interval(inside, outside)
        held += low <= stats.norm.cdf(1 / np.sqrt(2)) <= high
    assert 0.92 <= held / 400 <= 0.98


def test_rank_correlation_is_spearman_s_with_ties():
    rng = np.random.default_rng(0)
    first = rng.integers(8, size=60)
    second = first + rng.normal(0, 2, 60)
    rho, low, high = rank_correlation(first, second)
    assert rho == pytest.approx(stats.spearmanr(first, second).statistic)
    assert low < rho < high
    again, *_ = rank_correlation(first, -second)
    assert again == pytest.approx(-rho)


def test_the_interval_of_a_rank_correlation_contains_the_true_one():
    rng = np.random.default_rng(0)
    true, inside = 6 / np.pi * np.arcsin(0.6 / 2), 0  # of normal numbers
    for _ in range(200):
        first = rng.normal(size=60)
        second = 0.6 * first + 0.8 * rng.normal(size=60)
        _, low, high = rank_correlation(first, second)
        inside += low <= true <= high
    assert 0.91 <= inside / 200 <= 0.99


def test_three_points_and_constants_have_no_rank_correlation():
    assert rank_correlation(np.arange(3), np.arange(3)) is None
    assert rank_correlation(np.zeros(9), np.arange(9)) is None
    rho, low, high = rank_correlation(np.arange(9), np.arange(9))
    assert rho == pytest.approx(1) and low < high <= 1
