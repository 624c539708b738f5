"""The suite's figures against those of the registered metrics in a runner."""

import numpy as np
import pytest
from mmengine.runner import Runner

from mmanchor.suite.candidates import Candidate
from mmanchor.suite.images import ImageBatches
from mmanchor.suite.measure import METRIC_CONFIGS, REFERENCE_METRICS, measure
from mmanchor.suite.spec import Cell

PROTOCOLS = [
    None,
    dict(num_references=1),
    dict(num_references=3),
    dict(num_references=3, protocol='adaptive'),
    dict(protocol='transduction', num_references=3),
]


@pytest.fixture
def arrays(tmp_path):
    """Sixty noisy images of 16x16, at five severities, in colours."""
    rng = np.random.default_rng(0)
    folder = tmp_path / 'arrays'
    folder.mkdir()
    np.save(
        folder / 'fog.npy',
        rng.integers(0, 256, (300, 16, 16, 3)).astype(np.uint8),
    )
    np.save(folder / 'labels.npy', rng.integers(0, 10, 300))
    return dict(type='CorruptedArrays', data_root=str(folder))


def in_runner(cfg, dataset, how=None):
    cfg.test_dataloader.dataset = dataset
    cfg.test_dataloader.batch_size = 32
    left_out = set() if 'custom_hooks' in cfg else set(REFERENCE_METRICS)
    if how and how.get('protocol') == 'adaptive':  # spreads of unlike numbers
        left_out = {'ReferenceSpread'}
    cfg.test_evaluator = [
        config for config in METRIC_CONFIGS if config['type'] not in left_out
    ]
    found = Runner.from_cfg(cfg).test()
    return {key.partition('/')[2]: value for key, value in found.items()}


def in_suite(cfg, checkpoint, cell):
    ready = Candidate('model', cfg, checkpoint, 'config.py').load('cpu')
    batches = ImageBatches(cell, ready.pipeline, batch_size=32)
    (found,) = measure(ready, batches, 'cpu')
    return {
        key: value
        for key, value in found.figures.items()
        if value is not None and not key.endswith(('_low', '_high'))
    }


@pytest.mark.parametrize('how', PROTOCOLS, ids=repr)
def test_figures_are_those_of_the_runner(small_config, arrays, how):
    options = {
        f'custom_hooks.0.{key}': value for key, value in (how or {}).items()
    }
    name = '' if how is None else 'anchored-masked_'
    cfg = small_config(name, **options)
    cfg.train_cfg.max_epochs = 1
    Runner.from_cfg(cfg).train()
    cfg.load_from = checkpoint = f'{cfg.work_dir}/epoch_1.pth'
    cell = Cell('noise', dict(arrays, kind='fog', severity=2), (), 'fog', 2)
    found = in_suite(cfg, checkpoint, cell)
    cfg.experiment_name += '_test'
    expected = in_runner(
        cfg,
        dict(cell.dataset, pipeline=cfg.test_dataloader.dataset.pipeline),
        how,
    )
    assert len(found) >= 9
    assert found == pytest.approx(expected, rel=1e-6)
