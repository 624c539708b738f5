import math

import pytest
import torch
from scipy import stats

from mmanchor.functional import (
    anchor_score,
    average_references,
    calibrated_logits,
    energy,
    max_logit,
    mutual_information,
    predictive_entropy,
    reference_spread,
)


def test_averages_of_logits_and_of_probabilities():
    logits = 3 * torch.randn(4, 5, 6)
    torch.testing.assert_close(average_references(logits), sum(logits) / 4)
    mean_probability = sum(each.softmax(1) for each in logits) / 4
    torch.testing.assert_close(
        average_references(logits, 'probabilities').softmax(1),
        mean_probability,
    )


def test_spread_of_one_or_of_equal_references_is_zero():
    logits = torch.randn(1, 5, 6)
    assert reference_spread(logits).abs().max() == 0
    assert reference_spread(logits.repeat(7, 1, 1)).abs().max() < 1e-6


def test_spread_is_the_population_standard_deviation():
    logits = torch.tensor([1.0, 3.0]).view(2, 1, 1)
    assert reference_spread(logits).item() == 1


def test_spread_in_other_spaces():
    logits = 3 * torch.randn(4, 5, 6).double()
    for space, function in (
        ('sigmoid', torch.sigmoid),
        ('softmax', torch.nn.Softmax(-1)),
    ):
        expected = function(logits).numpy().std(0)
        torch.testing.assert_close(
            reference_spread(logits, space), torch.from_numpy(expected)
        )
    with pytest.raises(
        ValueError, match="'sigmoid' or 'softmax', but got 'p'"
    ):
        reference_spread(logits, 'p')


def test_entropies_are_scipy_s():
    logits = 3 * torch.randn(4, 5, 6).double()
    probabilities = logits.softmax(-1).numpy()
    total = stats.entropy(probabilities.mean(0), axis=-1)
    within = stats.entropy(probabilities, axis=-1).mean(0)
    torch.testing.assert_close(
        predictive_entropy(logits), torch.from_numpy(total)
    )
    torch.testing.assert_close(
        mutual_information(logits), torch.from_numpy(total - within)
    )


def test_limits_of_entropies():
    same = torch.randn(1, 5, 6).repeat(3, 1, 1)
    assert mutual_information(same).abs().max() < 1e-6
    certain = torch.tensor([[[math.inf, 0.0]], [[0.0, math.inf]]]).nan_to_num()
    assert predictive_entropy(certain).item() == pytest.approx(math.log(2))
    assert predictive_entropy(certain[:1]).item() == 0


def test_calibrated_logits_by_hand():
    logits = torch.tensor([[[0.0, 2.0]], [[2.0, 2.0]]])
    # sigmoids: 0.5 and 0.8808, standard deviation 0.1904; mean with 0: 0.0952
    expected = torch.tensor([[1.0, 2.0]]) / (1 + math.exp(0.0951993))
    torch.testing.assert_close(calibrated_logits(logits), expected)


def test_anomaly_scores_are_larger_for_flat_logits():
    flat, peaked = torch.zeros(1, 5), torch.tensor([[9.0, 0.0, 0.0, 0.0, 0.0]])
    for score in (energy, max_logit, anchor_score):
        assert score(flat) > score(peaked)
    log_probs = peaked.log_softmax(-1)
    torch.testing.assert_close(anchor_score(peaked), log_probs.mean(-1))
    torch.testing.assert_close(
        energy(peaked), torch.tensor([-math.log(math.exp(9) + 4)])
    )
