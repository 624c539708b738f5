"""A run ends the same wherever it was interrupted."""

import gc
import logging
import random

import numpy as np
import pytest
import torch
from helpers.exact_runs import differences
from helpers.runs import config_maker
from mmengine.hooks import Hook
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmpretrain.registry import HOOKS, TRANSFORMS

EVERYTHING = {
    'epochs': 3,
    'model.train_cfg': dict(augments=dict(type='Mixup', alpha=0.8)),
    'data_preprocessor.references': dict(type='ReferenceSet', size=20),
    'data_preprocessor.mask_prob': 0.5,
    'custom_hooks': [
        dict(type='EMAHook', momentum=0.1),
        dict(type='KReferenceHook', num_references=2),
    ],
}


@TRANSFORMS.register_module()
class DrawFromAll:
    """Changes pixels by draws from Python, NumPy and PyTorch."""

    def __call__(self, results):
        drawn = [random.random(), np.random.rand(), torch.rand(()).item()]
        results['img'] = results['img'] + np.float32(10 * sum(drawn))
        return results


def loading(num_workers, persistent=False):
    pipeline = [
        dict(type='Resize', scale=16, interpolation='bicubic'),
        dict(type='RandomCrop', crop_size=16, padding=2),
        dict(type='DrawFromAll'),
        dict(type='PackInputs'),
    ]
    return {
        'train_dataloader.num_workers': num_workers,
        'train_dataloader.persistent_workers': persistent,
        'train_dataloader.dataset.pipeline': pipeline,
    }


def trainer(make_config, parent):
    """Train to the end, in a folder of a name, from a checkpoint if named."""

    def train(name, start=None, loop=None, **options):
        cfg = make_config(
            load_from=start and str(start), resume=start is not None, **options
        )
        cfg.train_cfg = loop or cfg.train_cfg
        cfg.work_dir = str(parent / name)
        Runner.from_cfg(cfg).train()
        return parent / name

    return train


@pytest.fixture
def train(small_config, tmp_path):
    return trainer(small_config, tmp_path)


@pytest.fixture(scope='module')
def train_once(tmp_path_factory):
    parent = tmp_path_factory.mktemp('once')
    init_default_scope('mmpretrain')
    return trainer(config_maker(parent), parent)


@pytest.fixture(scope='module')
def whole(train_once):
    return train_once('whole', **EVERYTHING, **loading(0))


@pytest.fixture(scope='module')
def middle(train_once):
    """The same run, with a checkpoint of every iteration."""
    each_iteration = {
        'default_hooks.checkpoint.by_epoch': False,
        'default_hooks.checkpoint.max_keep_ckpts': 99,
    }
    return train_once('middle', **EVERYTHING, **loading(0), **each_iteration)


@pytest.mark.parametrize(
    'num_workers,persistent,epoch',
    [(0, False, 1), (0, False, 2), (2, True, 1)],
)
def test_resumed_after_any_epoch_with_any_workers(
    train, whole, num_workers, persistent, epoch
):
    resumed = train(
        'resumed',
        whole / f'epoch_{epoch}.pth',
        **EVERYTHING,
        **loading(num_workers, persistent),
    )
    assert not differences(whole / 'epoch_3.pth', resumed / 'epoch_3.pth')


@HOOKS.register_module()
class NoHook(Hook):
    """In place of another."""


def test_without_the_hook_it_is_another_run(train):
    options = dict(
        EVERYTHING,
        **loading(0),
        **{'default_hooks.reproducible': dict(type='NoHook')},
    )
    whole = train('whole', **options)
    resumed = train('resumed', whole / 'epoch_1.pth', **options)
    assert differences(whole / 'epoch_3.pth', resumed / 'epoch_3.pth')


@pytest.mark.parametrize('num_workers,iteration', [(0, 1), (0, 8), (2, 6)])
def test_resumed_in_the_middle_of_an_epoch(
    train, whole, middle, num_workers, iteration
):
    start = middle / f'iter_{iteration}.pth'
    resumed = train('resumed', start, **EVERYTHING, **loading(num_workers))
    assert not differences(whole / 'epoch_3.pth', resumed / 'epoch_3.pth')


@pytest.mark.parametrize(
    'sampler,num_workers',
    [('InfiniteSampler', 0), ('InfiniteSampler', 2), ('DefaultSampler', 2)],
)
def test_loops_of_iterations(train, sampler, num_workers, monkeypatch):
    monkeypatch.setattr('time.sleep', lambda seconds: None)
    begin = Runner.call_hook

    def call_hook(runner, name, **kwargs):
        begin(runner, name, **kwargs)
        if name == 'before_train':
            gc.collect()  # which ends what is not held

    monkeypatch.setattr(Runner, 'call_hook', call_hook)
    options = dict(
        EVERYTHING,
        **loading(num_workers),
        loop=dict(type='IterBasedTrainLoop', max_iters=10, val_interval=10),
        param_scheduler=[],
        **{
            'default_hooks.checkpoint.by_epoch': False,
            'train_dataloader.sampler.type': sampler,
        },
    )
    whole = train('whole', **options)
    resumed = train('resumed', whole / 'iter_6.pth', **options)
    assert not differences(whole / 'iter_10.pth', resumed / 'iter_10.pth')


def test_without_a_seed_of_the_config_the_run_s_goes_on(train):
    options = {**EVERYTHING, **loading(0), 'randomness.seed': None}
    whole = train('whole', **options)
    resumed = train('resumed', whole / 'epoch_2.pth', **options)
    assert not differences(whole / 'epoch_3.pth', resumed / 'epoch_3.pth')


@pytest.fixture
def warned(caplog, monkeypatch):
    """What runs warn of."""
    messages = []
    original = logging.Logger.warning

    def keep(self, message, *args, **kwargs):
        messages.append(str(message))
        return original(self, message, *args, **kwargs)

    monkeypatch.setattr(logging.Logger, 'warning', keep)
    return messages


def test_another_batch_size_is_warned_of(train, whole, warned):
    options = {**EVERYTHING, **loading(0), 'train_dataloader.batch_size': 10}
    first = train('first', whole / 'epoch_1.pth', **options)
    (message,) = (m for m in warned if 'The checkpoint was written by' in m)
    assert (
        'by 1 process(es) with 16 images each, 4 batches an epoch; this '
        'run has 1 process(es) with 10 images each, 5 batches'
    ) in message
    assert 'continue from 4' in message
    # from there on it is exact again
    warned.clear()
    again = train('again', first / 'epoch_2.pth', **options)
    assert not any('The checkpoint was written' in m for m in warned)
    assert not differences(first / 'epoch_3.pth', again / 'epoch_3.pth')


def test_resuming_that_cannot_be_exact_is_warned_of(train, warned):
    without = {'default_hooks.reproducible': dict(type='NoHook')}
    plain = train('plain', epochs=1, **without)
    accumulated = {'epochs': 2, 'optim_wrapper.accumulative_counts': 3}
    train('resumed', plain / 'epoch_1.pth', **accumulated)
    assert any('written without ReproducibleRunHook' in m for m in warned)
    assert not any('accumulated gradients' in m for m in warned)  # the last
    train('accumulated', **accumulated)
    assert any('between two steps of accumulated' in m for m in warned)
