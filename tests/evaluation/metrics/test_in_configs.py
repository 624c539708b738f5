"""Metrics in runs, and as docs/evaluation.md shows them."""

import re
from pathlib import Path

import mmcv
import numpy as np
import pytest
import torch
from mmengine.evaluator import Evaluator
from mmengine.runner import Runner
from mmpretrain.registry import DATASETS, METRICS
from mmpretrain.structures import DataSample

from mmanchor import evaluation
from mmanchor.evaluation.metrics.anomaly_rejection import SCORES

PAGE = (Path(__file__).parents[3] / 'docs/evaluation.md').read_text()
NUMBERS = ('auroc', 'aupr', 'fpr95')


def shown(name):
    names = {}
    for block in re.findall(r'^```python\n(.*?)^```', PAGE, re.M | re.S):
        exec(block, names)
    return names[name]


def test_the_page_names_all_metrics_and_scores():
    named = re.findall(r'`(\w+)`', PAGE)
    metrics = {
        name
        for name in vars(evaluation)
        if isinstance(METRICS.get(name), type)
    }
    assert len(metrics) == 9 and metrics <= set(named)
    assert set(SCORES) <= set(named)


def test_metrics_as_shown_validate_a_run(run):
    found = run(val_evaluator=shown('val_evaluator')).val()
    assert {
        'accuracy/top1',
        'calibration/ece',
        'calibration/rmsce',
        'calibration/mce',
        'calibration/smooth_ece',
        'probabilities/nll',
        'probabilities/brier',
        'selective/aurc',
        'selective/excess_aurc',
    } == {key for key in found if '/' in key and 'time' not in key}
    wrong = 1 - found['accuracy/top1'] / 100
    assert 0 < wrong <= 1
    assert (
        found['calibration/ece']
        <= found['calibration/rmsce']
        <= found['calibration/mce']
    )
    assert 0 <= found['selective/excess_aurc'] < found['selective/aurc'] <= 1
    assert 0 < found['probabilities/brier'] <= 2


def runner_with_noise_marked(cfg, **evaluator):
    cfg.test_evaluator = evaluator
    inside = dict(cfg.test_dataloader.dataset)
    noise = dict(type='SeededGaussianNoise', std=200)
    marked = [noise, dict(type='MarkOutOfDistribution'), *inside['pipeline']]
    outside = dict(inside, indices=30, pipeline=marked)
    cfg.test_dataloader.dataset = dict(
        type='ConcatDataset', datasets=[inside, outside]
    )
    return Runner.from_cfg(cfg)


def test_a_run_rejects_anomalies_by_every_score(small_config):
    scores = [*SCORES, 'GEN']
    hook = dict(
        type='KReferenceHook',
        num_references=2,
        uncertainty=['mutual_information', 'predictive_entropy'],
    )
    runner = runner_with_noise_marked(
        small_config(custom_hooks=[hook], epochs=1),
        type='AnomalyRejection',
        scores=scores,
    )
    runner.train()
    found = runner.test()
    for score in scores:
        values = [found[f'ood/{score}_{number}'] for number in NUMBERS]
        assert all(0 <= value <= 1 for value in values)
    assert len({found[f'ood/{score}_auroc'] for score in scores}) > 3


def test_a_plain_model_rejects_anomalies_by_its_probabilities(small_config):
    found = runner_with_noise_marked(
        small_config(''), type='AnomalyRejection', scores=['msp', 'entropy']
    ).test()
    assert {key for key in found if 'ood' in key} == {
        f'ood/{score}_{number}'
        for score in ('msp', 'entropy')
        for number in NUMBERS
    }


@pytest.mark.parametrize(
    'metric,words',
    [
        ('AnomalyRejection', "with `pred_logits`.* MMPretrain's"),
        ('NegativeLogLikelihood', 'but got -1. .*AnomalyRejection'),
    ],
)
def test_a_metric_refuses_what_it_cannot_measure(small_config, metric, words):
    runner = runner_with_noise_marked(small_config(''), type=metric)
    with pytest.raises(ValueError, match=words):
        runner.test()


def test_a_folder_as_shown_is_out_of_distribution(tmp_path):
    dataset = shown('test_dataloader')['dataset']
    image = np.zeros((8, 8, 3), np.uint8)
    for name in 'abc':
        mmcv.imwrite(image, str(tmp_path / f'{name}.png'))
    dataset['datasets'][1]['data_root'] = str(tmp_path)
    built = DATASETS.build(dataset)
    labels = [built[i]['data_samples'].gt_label.item() for i in range(503)]
    assert labels[-3:] == [-1] * 3 and min(labels[:500]) == 0
    METRICS.build(shown('test_evaluator'))


def test_an_evaluator_takes_them():
    evaluator = Evaluator(shown('val_evaluator')[1:])
    scores = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    samples = [
        DataSample().set_gt_label(0).set_pred_score(score) for score in scores
    ]
    evaluator.process(samples)
    found = evaluator.evaluate(2)
    assert found['calibration/ece'] == pytest.approx(0.5)
    assert found['probabilities/brier'] == 1
    assert found['selective/aurc'] == pytest.approx(0.5)
