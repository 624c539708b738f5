import datetime
import math

import pytest
import torch
import torch.distributed as dist
from helpers.forked import spawn
from mmengine.dataset import DefaultSampler
from mmengine.dist import get_dist_info
from mmengine.evaluator import BaseMetric
from mmengine.registry import init_default_scope
from mmpretrain.registry import METRICS
from mmpretrain.structures import DataSample
from torch.utils.data import DataLoader

import mmanchor  # noqa: F401
from mmanchor import evaluation

CLASSES = 4
NAMES = (
    'CalibrationError',
    'SmoothedCalibrationError',
    'NegativeLogLikelihood',
    'BrierScore',
    'AreaUnderRiskCoverage',
    'Top1Accuracy',
    'ReferenceSpread',
    'ReferencesUsed',
    'AnomalyRejection',
)
SUPERVISED = NAMES[:6]
LABELLED = (*SUPERVISED, 'AnomalyRejection')
every_metric = pytest.mark.parametrize('name', NAMES)


def predictions(count=60, ood=True):
    """As an evaluator hands them on; every third image is out."""
    logits = 3 * torch.randn(count, CLASSES)
    return [
        dict(
            pred_logits=row,
            pred_score=row.softmax(0),
            pred_std=row.abs(),
            num_references=1 + i % 3,
            gt_label=torch.tensor([-1 if ood and i % 3 == 0 else i % CLASSES]),
        )
        for i, row in enumerate(logits)
    ]


def predictions_for(name, **kwargs):
    return predictions(ood=name == 'AnomalyRejection', **kwargs)


def evaluate(name, samples, batch_size=25, **kwargs):
    metric = METRICS.build(dict(type=name, **kwargs))
    for start in range(0, len(samples), batch_size):
        metric.process({}, samples[start : start + batch_size])
    return metric.evaluate(len(samples))


def test_these_are_all_metrics():
    found = {
        name
        for name, thing in vars(evaluation).items()
        if isinstance(thing, type) and issubclass(thing, BaseMetric)
    }
    # the base of one's own, and two that take what was fitted before, so that
    # no config can name them
    others = {'PerImageMetric', 'PredictionSetMetric', 'SelectiveError'}
    assert found == {*NAMES} | others
    assert not {name for name in others if METRICS.get(name)}


@every_metric
def test_how_images_fall_into_batches_and_in_which_order_does_not_matter(name):
    samples = predictions_for(name)
    metric = METRICS.build(dict(type=name))
    metric.process({}, samples)
    assert len(metric.results) == 60
    # a few numbers are kept of an image
    assert all(
        len(row) <= 2 and all(isinstance(number, float) for number in row)
        for row in metric.results
    )
    at_once = metric.evaluate(60)
    assert all(0 < value < 90 for value in at_once.values())
    assert evaluate(name, samples, batch_size=7) == pytest.approx(at_once)
    assert evaluate(name, samples[::-1]) == pytest.approx(at_once)


@pytest.mark.parametrize('name', (*LABELLED, 'ReferenceSpread'))
@pytest.mark.parametrize('value', [math.nan, -math.inf])
def test_nan_and_infinity_are_refused_with_the_number_of_images(name, value):
    samples = predictions_for(name)
    for i in (2, 30, 31):
        for key in ('pred_logits', 'pred_score', 'pred_std'):
            samples[i][key] = samples[i][key].clone()
            samples[i][key][1] = value
    with pytest.raises(
        ValueError,
        match='finite predictions, but got NaN or infinity for 3 of 60 '
        'images. Change the checkpoint',
    ):
        evaluate(name, samples)


@every_metric
def test_samples_that_no_metric_takes_are_refused(name):
    metric = METRICS.build(dict(type=name))
    metric.process({}, [])
    with pytest.raises(ValueError, match='one image or more, but got none. '):
        metric.evaluate(0)
    samples = predictions_for(name)
    bare = [dict(gt_label=sample['gt_label']) for sample in samples]
    with pytest.raises(ValueError, match=r'with `\w+`, but got 25 without it'):
        evaluate(name, bare)
    samples[5]['gt_label'] = torch.tensor([0, 2])
    with pytest.raises(
        ValueError, match='one label an image, but got 2. Change the'
    ):
        evaluate(name, samples)


@pytest.mark.parametrize('name', LABELLED)
def test_images_without_labels_are_refused(name):
    samples = predictions_for(name)
    del samples[5]['gt_label']
    with pytest.raises(
        ValueError,
        match='with `gt_label`, but got 1 without it. Change the data ',
    ):
        evaluate(name, samples)


@pytest.mark.parametrize('name', SUPERVISED)
@pytest.mark.parametrize('label', [-1, CLASSES])
def test_labels_that_are_no_class_are_refused(name, label):
    samples = predictions_for(name)
    samples[40]['gt_label'] = torch.tensor([label])
    with pytest.raises(
        ValueError,
        match=f'labels from 0 to 3, but got {label}. Change the data set '
        'or the evaluator',
    ):
        evaluate(name, samples)


KEPT = dict(classes=('a', 'b', 'c', 'd'), kept_classes=(1, 3))


def evaluate_kept(name, samples):
    metric = METRICS.build(dict(type=name))
    metric.dataset_meta = KEPT
    metric.process({}, samples)
    return metric.evaluate(len(samples))


@pytest.mark.parametrize('name', (*LABELLED, 'ReferenceSpread'))
def test_only_the_classes_that_a_data_set_has_compete(name):
    samples = predictions()
    narrow = []
    for i, sample in enumerate(samples):
        out = name == 'AnomalyRejection' and i % 3 == 0
        place = -1 if out else i % 2
        sample['gt_label'] = torch.tensor([-1 if out else 1 + 2 * place])
        logits = sample['pred_logits'][[1, 3]]
        narrow.append(
            dict(
                pred_logits=logits,
                pred_score=logits.softmax(0),
                pred_std=sample['pred_std'][[1, 3]],
                gt_label=torch.tensor([place]),
            )
        )
    assert evaluate_kept(name, samples) == pytest.approx(
        evaluate(name, narrow), abs=1e-4
    )


def test_a_label_that_is_not_kept_is_refused():
    with pytest.raises(
        ValueError,
        match='among the 2 classes that the data set says it has, but '
        'got 0. Correct `kept_classes`',
    ):
        evaluate_kept('Top1Accuracy', predictions(ood=False))


def test_predictions_for_fewer_classes_are_refused():
    batch = evaluation.PredictedBatch(
        dict(pred_score=torch.zeros(2, 3)), kept_classes=(0, 3)
    )
    with pytest.raises(
        ValueError, match='for 4 classes or more.*but got 3. Name'
    ):
        batch['pred_score']


def test_accuracy_is_the_host_s():
    samples = predictions(ood=False)
    host = METRICS.build(dict(type='Accuracy', topk=(1,)))
    host.process({}, samples)
    assert evaluate('Top1Accuracy', samples) == pytest.approx(
        host.evaluate(60), abs=1e-4
    )


def test_a_batch_of_tensors_says_what_it_lacks():
    batch = evaluation.PredictedBatch(dict(pred_score=torch.zeros(2, 3)))
    with pytest.raises(ValueError, match='`pred_std`, but got pred_score. On'):
        batch['pred_std']


CONFIGS = [
    dict(type='Accuracy', topk=(1, 3)),
    dict(type='SingleLabelMetric', items=('precision', 'recall')),
    *(dict(type=name) for name in NAMES[:-1]),
    dict(type='AnomalyRejection', scores=('msp', 'energy')),
]


def gathered_samples(count, of_no_class=False):
    """Predictions for a data set; every fourth image may be of no class."""
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(count, 5, generator=generator)
    found = []
    for i in range(count):
        sample = DataSample().set_gt_label(
            -1 if of_no_class and i % 4 == 0 else i % 5
        )
        sample.set_pred_score(logits[i].softmax(0))
        sample.set_pred_label(logits[i].argmax())
        sample.pred_logits = logits[i]
        sample.pred_std = logits[i].abs()
        sample.num_references = torch.tensor(float(i % 3))
        found.append(sample.to_dict())
    return found


def measure(count, batch_size):
    """As the host's loop does, with its sampler."""
    init_default_scope('mmpretrain')
    metrics = {}
    for config in CONFIGS:
        metric = METRICS.build(dict(config))
        of_no_class = config['type'] == 'AnomalyRejection'
        data = gathered_samples(count, of_no_class)
        metric.dataset_meta = dict(classes=list('abcde'))
        loader = DataLoader(
            data,
            batch_size,
            sampler=DefaultSampler(data, shuffle=False, seed=0),
            collate_fn=list,
        )
        for batch in loader:
            metric.process(None, batch)
        metrics.update(metric.evaluate(count))
    return metrics


def on_rank(rank, count, folder):
    torch.set_num_threads(1)
    dist.init_process_group(
        'gloo',
        f'file://{folder}/store',
        rank=rank,
        world_size=2,
        timeout=datetime.timedelta(seconds=300),
    )
    assert get_dist_info() == (rank, 2)
    torch.save(measure(count, 4), f'{folder}/{rank}.pt')
    dist.destroy_process_group()


def test_two_processes_measure_what_one_does(tmp_path):
    count = 37  # the ranks are padded to 38 and one image is seen twice
    spawn(on_rank, (count, str(tmp_path)), nprocs=2)
    expected = measure(count, 8)
    assert len(expected) >= 12
    for rank in (0, 1):
        found = torch.load(tmp_path / f'{rank}.pt', weights_only=False)
        assert repr(found) == repr(expected)
