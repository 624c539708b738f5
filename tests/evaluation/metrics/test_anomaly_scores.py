import math

import pytest
import torch
from mmpretrain.registry import METRICS
from pytorch_ood import detector

from mmanchor.evaluation import find_score


def of(name, values):
    return find_score(name).function(torch.tensor([values]).double()).item()


@pytest.mark.parametrize(
    'name, field, values, expected',
    [
        ('energy', 'pred_logits', [0.0, math.log(3)], -math.log(4)),
        ('max_logit', 'pred_logits', [1.0, 3.0], -3),
        ('anchor_score', 'pred_logits', [0.0, 0.0, 0.0, 0.0], -math.log(4)),
        (
            'msp',
            'log_scores',
            [math.log(0.25), math.log(0.75)],
            math.log(0.25),
        ),
        ('entropy', 'log_scores', [-math.log(2)] * 2, math.log(2)),
        ('entropy', 'log_scores', [0.0, -87.0], 0),
        ('spread', 'pred_std', [1.0, 2.0, 6.0], 3),
        ('mutual_information', 'mutual_information', 0.4, 0.4),
        ('predictive_entropy', 'predictive_entropy', 0.4, 0.4),
    ],
)
def test_by_hand(name, field, values, expected):
    assert find_score(name).field == field
    assert of(name, values) == pytest.approx(expected)


@pytest.mark.parametrize(
    'ours, theirs', [('energy', 'EnergyBased'), ('max_logit', 'MaxLogit')]
)
def test_scores_of_logits_are_pytorch_ood_s(ours, theirs):
    logits = 5 * torch.randn(30, 10)
    torch.testing.assert_close(
        find_score(ours).function(logits), find_score(theirs).function(logits)
    )


@pytest.mark.parametrize(
    'ours, theirs', [('msp', 'MaxSoftmax'), ('entropy', 'Entropy')]
)
def test_scores_of_probabilities_are_pytorch_ood_s(ours, theirs):
    logits = torch.randn(30, 10)
    found = find_score(ours).function(logits.log_softmax(1))
    if_msp = {'msp': lambda logs: -1 + logs.exp()}.get(ours, lambda x: x)
    torch.testing.assert_close(
        if_msp(found), find_score(theirs).function(logits)
    )


def test_a_score_of_pytorch_ood_alone():
    logits = 5 * torch.randn(30, 10)
    torch.testing.assert_close(
        find_score('GEN').function(logits), detector.GEN.score(logits)
    )


# not there, wants fitting, wants weights, wants features, is no detector
@pytest.mark.parametrize(
    'name',
    ['enregy', 'KLMatching', 'WeightedEBO', 'Mahalanobis', '__name__', None],
)
def test_other_names_are_refused(name):
    with pytest.raises(
        ValueError,
        match='a score among energy, max_logit, .* logits only and no '
        f'fitting, but got {name!r}. Change it',
    ):
        METRICS.build(dict(type='AnomalyRejection', scores=['msp', name]))


def test_missing_pytorch_ood_names_the_extra_where_it_is_needed(
    without_package,
):
    without_package('pytorch_ood')
    METRICS.build(dict(type='AnomalyRejection', scores='entropy'))
    with pytest.raises(
        ImportError,
        match="among energy, .*, but got 'GEN'. Change it, or install "
        r'.*`pip install "mmanchor\[ood\]"`',
    ):
        METRICS.build(dict(type='AnomalyRejection', scores='GEN'))
