"""Two processes measure what one does, to the last digit."""

import datetime

import pytest
import torch
import torch.distributed as dist
from helpers.forked import spawn
from mmengine.dist import get_dist_info
from mmengine.registry import init_default_scope
from mmpretrain.registry import METRICS
from mmpretrain.structures import DataSample
from torch.utils.data import DataLoader

import mmanchor  # noqa: F401

CONFIGS = [
    dict(type='Accuracy', topk=(1, 3)),
    dict(type='SingleLabelMetric', items=('precision', 'recall')),
    dict(type='Top1Accuracy'),
    dict(type='CalibrationError'),
    dict(type='SmoothedCalibrationError'),
    dict(type='NegativeLogLikelihood'),
    dict(type='BrierScore'),
    dict(type='AreaUnderRiskCoverage'),
    dict(type='ReferenceSpread'),
    dict(type='ReferencesUsed'),
    dict(type='AnomalyRejection', scores=('msp', 'energy')),
]


def samples(count, of_no_class=False):
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
    from mmengine.dataset import DefaultSampler

    init_default_scope('mmpretrain')
    metrics = {}
    for config in CONFIGS:
        metric = METRICS.build(dict(config))
        of_no_class = config['type'] == 'AnomalyRejection'
        data = samples(count, of_no_class)
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


@pytest.mark.parametrize('count', [24, 37])
def test_two_processes_measure_what_one_does(tmp_path, count):
    pytest.importorskip('torchmetrics')
    spawn(on_rank, (count, str(tmp_path)), nprocs=2)
    expected = measure(count, 8)
    assert len(expected) >= 12
    for rank in (0, 1):
        found = torch.load(tmp_path / f'{rank}.pt', weights_only=False)
        assert repr(found) == repr(expected)
