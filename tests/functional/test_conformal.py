"""Scores and thresholds of prediction sets."""

import math

import pytest
import torch
from scipy import stats

from mmanchor.functional import conformal_scores, conformal_threshold


def drawn(images, classes=6, seed=0):
    """Probabilities of a model that is too sure, and labels."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(images, classes, generator=generator)
    labels = logits.softmax(1).multinomial(1, generator=generator)[:, 0]
    return (3 * logits).softmax(1), labels


def by_hand(row, penalty, free_classes):
    """Scores of an image, class by class, in plain Python."""
    found = []
    for label, share in enumerate(row):
        above = [
            other
            for j, other in enumerate(row)
            if other > share or (other == share and j < label)
        ]
        rank = len(above) + 1
        found.append(sum(above) + penalty * max(0, rank - free_classes))
    return found


def smallest_set(row, mass):
    """The fewest likely classes whose probability exceeds ``mass``."""
    chosen, total = set(), 0.0
    for label in sorted(range(len(row)), key=lambda i: -row[i]):
        chosen.add(label)
        total += row[label]
        if total > mass:
            break
    return chosen


@pytest.mark.parametrize(
    'penalty,free_classes', [(0.0, 2), (0.1, 2), (0.25, 0), (1.0, 1)]
)
def test_scores_are_those_of_a_loop_over_classes(penalty, free_classes):
    probabilities, _ = drawn(50)
    probabilities[0] = 1 / 6  # ties
    found = conformal_scores(probabilities, penalty, free_classes)
    expected = [
        by_hand(row, penalty, free_classes)
        for row in probabilities.double().tolist()
    ]
    torch.testing.assert_close(found, torch.tensor(expected).double())


def test_without_a_penalty_raps_is_aps():
    probabilities, _ = drawn(50)
    assert torch.equal(
        conformal_scores(probabilities, 0.0, 0),
        conformal_scores(probabilities, 0.0, 5),
    )


def test_sets_are_the_fewest_classes_whose_probability_exceeds_a_threshold():
    probabilities, _ = drawn(200)
    inside = conformal_scores(probabilities) <= 0.8
    sets = [set(row.nonzero()[:, 0].tolist()) for row in inside]
    assert sets == [
        smallest_set(row, 0.8) for row in probabilities.double().tolist()
    ]
    assert {len(one) for one in sets} >= {1, 2, 3}


def test_a_penalty_keeps_sets_small():
    probabilities, labels = drawn(2000)
    sizes = []
    for penalty in (0.0, 0.5):
        scores = conformal_scores(probabilities, penalty)
        threshold = conformal_threshold(
            scores[torch.arange(2000), labels], 0.95
        )
        sizes.append((scores <= threshold).sum(1).max().item())
    assert sizes[1] < sizes[0]


@pytest.mark.parametrize('penalty', [0.0, 0.1])
@pytest.mark.parametrize('coverage', [0.7, 0.9])
def test_the_coverage_holds_on_images_of_the_same_kind(penalty, coverage):
    count, rounds = 500, 20
    covered = 0
    for seed in range(rounds):
        probabilities, labels = drawn(2 * count, seed=seed)
        scores = conformal_scores(probabilities, penalty)
        scores = scores[torch.arange(2 * count), labels]
        threshold = conformal_threshold(scores[:count], coverage)
        covered += int((scores[count:] <= threshold).sum())
    # of the same held-out images, so that the spread is that of a
    # beta-binomial number in each round
    place = math.ceil((count + 1) * coverage)
    law = stats.betabinom(count, place, count + 1 - place)
    half = stats.norm.ppf(0.9995) * law.std() * rounds**0.5
    assert abs(covered - rounds * law.mean()) < half
    assert law.mean() >= count * coverage


def test_the_smallest_number_of_images_for_a_coverage_is_enough():
    assert conformal_threshold(torch.arange(9.0), 0.9) == 8
    assert conformal_threshold(torch.arange(99.0), 0.99) == 98


@pytest.mark.parametrize(
    'count,coverage,needed', [(8, 0.9, '9'), (98, 0.99, '99'), (0, 0.5, '1')]
)
def test_too_few_images_for_a_coverage_are_refused(count, coverage, needed):
    with pytest.raises(
        ValueError, match=f'at least {needed} held-out images .*got {count}'
    ):
        conformal_threshold(torch.zeros(count), coverage)


@pytest.mark.parametrize('coverage', [0, 1, -0.1, 90, math.nan])
def test_a_coverage_out_of_range_is_refused(coverage):
    with pytest.raises(ValueError, match='`coverage` to be between 0 and 1'):
        conformal_threshold(torch.zeros(100), coverage)


def test_bad_input_is_refused():
    probabilities, _ = drawn(3)
    with pytest.raises(ValueError, match='add up to 1 .*3 of 3 images'):
        conformal_scores(100 * probabilities)
    with pytest.raises(ValueError, match='Take the softmax of logits'):
        conformal_scores(torch.tensor([[1.5, -0.5]]))
    with pytest.raises(ValueError, match='for 1 of 2 images'):
        conformal_scores(torch.tensor([[0.5, 0.5], [math.nan, 0.5]]))
    with pytest.raises(TypeError, match='floating-point numbers, but got'):
        conformal_scores(torch.ones(3, 1, dtype=torch.long))
    with pytest.raises(ValueError, match=r'\(N, num_classes\), but got'):
        conformal_scores(probabilities[0])
    with pytest.raises(ValueError, match='`penalty` to be 0 or above'):
        conformal_scores(probabilities, -0.1)
    with pytest.raises(ValueError, match='`free_classes` to be 0 or above'):
        conformal_scores(probabilities, free_classes=-1)
    with pytest.raises(ValueError, match=r'shape \(N,\) .*with 0 NaN'):
        conformal_threshold(probabilities, 0.5)
    with pytest.raises(ValueError, match='with 1 NaN'):
        conformal_threshold(torch.tensor([0.5, math.nan]), 0.5)
