import math

import pytest
import torch
from mmpretrain.registry import METRICS
from pytorch_ood import detector
from pytorch_ood.metrics import OODMetrics
from sklearn.metrics import average_precision_score, roc_auc_score

from mmanchor.evaluation import anomaly_rejection, find_score


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
def test_scores_by_hand(name, field, values, expected):
    assert find_score(name).field == field
    assert of(name, values) == pytest.approx(expected)


@pytest.mark.parametrize(
    'ours, theirs',
    [
        ('energy', 'EnergyBased'),
        ('max_logit', 'MaxLogit'),
        ('msp', 'MaxSoftmax'),
        ('entropy', 'Entropy'),
    ],
)
def test_scores_are_pytorch_ood_s(ours, theirs):
    logits = 5 * torch.randn(30, 10)
    score = find_score(ours)
    given = logits if score.field == 'pred_logits' else logits.log_softmax(1)
    found = score.function(given)
    if ours == 'msp':  # ours is the logarithm of 1 - p, for precision
        found = found.exp() - 1
    torch.testing.assert_close(found, find_score(theirs).function(logits))


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


def drawn(count_id, count_ood, decimals=9):
    scores = torch.cat([torch.randn(count_id), torch.randn(count_ood) + 1])
    is_ood = torch.arange(count_id + count_ood) >= count_id
    return (20 * scores).round(decimals=decimals), is_ood


# 0.95 x 20 and 100 are whole numbers; rounding to tens makes ties
@pytest.mark.parametrize('count_ood', [1, 20, 33, 100])
@pytest.mark.parametrize('decimals', [9, -1])
def test_agrees_with_pytorch_ood_and_scikit_learn(count_ood, decimals):
    scores, is_ood = drawn(150, count_ood, decimals)
    theirs = OODMetrics()
    theirs.update(scores, -is_ood.long())
    theirs = theirs.compute()
    assert anomaly_rejection(scores, is_ood) == pytest.approx(
        dict(
            auroc=theirs['AUROC'],
            aupr=average_precision_score(is_ood, scores),
            fpr95=theirs['FPR95TPR'],
        ),
        abs=1e-6,
    )


@pytest.mark.parametrize('count_ood', [20, 33])
def test_images_in_distribution_can_be_the_positive_ones(count_ood):
    scores, is_ood = drawn(70, count_ood, decimals=-1)
    found = anomaly_rejection(scores, is_ood, positive='id')
    assert found['auroc'] == pytest.approx(roc_auc_score(is_ood, scores))
    assert found['aupr'] == pytest.approx(
        average_precision_score(~is_ood, -scores)
    )
    # the lowest threshold under which 95 % of the images in are
    fprs = [
        (scores[is_ood] <= threshold).double().mean().item()
        for threshold in scores.unique()
        if (scores[~is_ood] <= threshold).double().mean() >= 0.95
    ]
    assert found['fpr95'] == pytest.approx(min(fprs))


def test_by_hand():
    scores = torch.tensor([1.0, 2.0, 3.0, 4.0, 2.0])
    is_ood = torch.tensor([False, False, False, True, True])
    # pairs: 4 beats 3; 2 beats 1, ties 2, loses to 3. Precision at the first
    # hit 1/1, at the second, which comes with the tie, 2/4. 95 % of two: both
    assert anomaly_rejection(scores, is_ood) == pytest.approx(
        dict(auroc=4.5 / 6, aupr=3 / 4, fpr95=2 / 3)
    )


def test_no_area_is_above_one():
    scores = torch.arange(86500)
    found = anomaly_rejection(scores, scores >= 50000)
    assert found == dict(auroc=1, aupr=1, fpr95=0)


@pytest.mark.parametrize('positive', ['ood', 'id'])
def test_equal_scores_tell_nothing(positive):
    is_ood = torch.arange(40) < 10
    share = dict(ood=0.25, id=0.75)[positive]
    assert anomaly_rejection(
        torch.full((40,), -7.0), is_ood, positive
    ) == pytest.approx(dict(auroc=0.5, aupr=share, fpr95=1))


def test_large_scores_of_either_sign_stay_apart():
    # a sigmoid would make them all 0, or all 1
    scores = torch.arange(40.0)
    is_ood = scores >= 20
    for shift in (-5000, 5000):
        assert anomaly_rejection(scores + shift, is_ood) == dict(
            auroc=1, aupr=1, fpr95=0
        )


def test_one_kind_of_image_alone_nan_and_no_image_are_refused():
    for is_ood, counts in (
        (True, '0 in and 3 out'),
        (False, '3 in and 0 out'),
    ):
        with pytest.raises(
            ValueError, match=f'and out of it, but got {counts}. Change the'
        ):
            anomaly_rejection(torch.rand(3), torch.full((3,), is_ood))
    is_ood = torch.tensor([True, False, False])
    with pytest.raises(ValueError, match='NaN or infinity for 2 of 3 images'):
        anomaly_rejection(torch.tensor([1, math.nan, -math.inf]), is_ood)
    with pytest.raises(ValueError, match='one image or more, but got none'):
        anomaly_rejection(torch.rand(0), is_ood[:0])


def test_another_word_for_positive_is_refused():
    message = "`positive` to be 'ood' or 'id', but got 'in'"
    with pytest.raises(ValueError, match=message):
        anomaly_rejection(torch.rand(2), torch.tensor([True, False]), 'in')
    with pytest.raises(ValueError, match=message):
        METRICS.build(dict(type='AnomalyRejection', positive='in'))


def test_no_score_is_refused():
    with pytest.raises(ValueError, match='one score or more, but got none'):
        METRICS.build(dict(type='AnomalyRejection', scores=[]))


def test_the_metric_has_three_numbers_for_each_score():
    logits = 4 * torch.randn(50, 10)
    labels = torch.arange(50) % 3 - 1
    names = ['energy', 'spread', 'GEN']
    metric = METRICS.build(
        dict(type='AnomalyRejection', scores=names, positive='id')
    )
    rows = zip(logits, labels[:, None])
    metric.process(
        {},
        [
            dict(pred_logits=row, pred_std=row**2, gt_label=label)
            for row, label in rows
        ],
    )
    found = metric.evaluate(50)
    numbers = ('auroc', 'aupr', 'fpr95')
    assert set(found) == {f'ood/{n}_{key}' for n in names for key in numbers}
    logits = logits.double()
    for name, scores in (
        ('energy', -logits.logsumexp(1)),
        ('spread', (logits**2).mean(1)),
    ):
        for key, value in anomaly_rejection(scores, labels < 0, 'id').items():
            assert found[f'ood/{name}_{key}'] == pytest.approx(value)


@pytest.mark.parametrize(
    'name, field, hint',
    [
        (
            'energy',
            'pred_logits',
            "MMPretrain's own heads give `pred_score` o",
        ),
        ('spread', 'pred_std', "Only anchored .* 'adaptive'. Change to anoth"),
        (
            'mutual_information',
            'mutual_information',
            'Change `uncertainty` of',
        ),
    ],
)
def test_a_plain_model_is_told_which_scores_it_lacks(name, field, hint):
    metric = METRICS.build(dict(type='AnomalyRejection', scores=name))
    sample = dict(pred_score=torch.ones(3) / 3, gt_label=torch.tensor([0]))
    with pytest.raises(
        ValueError, match=f'with `{field}`, but got 1 without it. {hint}'
    ):
        metric.process({}, [sample])


def test_missing_torchmetrics_names_the_extra(without_package):
    without_package('torchmetrics')
    with pytest.raises(ImportError, match=r'pip install "mmanchor\[eval\]"'):
        METRICS.build(dict(type='AnomalyRejection'))
