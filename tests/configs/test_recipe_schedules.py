"""Schedules of the recipes against the published ones."""

from pathlib import Path
from types import SimpleNamespace

import mmpretrain
import pytest
import torch
from helpers.recipe_leaves import CIFAR_FAMILIES, FAMILIES, leaf, read
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.runner import Runner
from mmpretrain.registry import HOOKS, MODELS

SWIN = [family for family in FAMILIES if family[1].startswith('swin')]
VIT, DEIT, REGNET = (
    ('imagenet', model, 'imagenet')
    for model in ('vit-base-p16', 'deit-small', 'regnety-800mf')
)


def learning_rates(cfg, batches=10):
    """The rate in each epoch of ten batches."""
    model = torch.nn.Linear(1, 1)
    optimizer = build_optim_wrapper(model, cfg.optim_wrapper)
    runner = SimpleNamespace(
        _train_loop=SimpleNamespace(
            max_epochs=cfg.train_cfg.max_epochs,
            max_iters=cfg.train_cfg.max_epochs * batches,
        ),
        train_loop=SimpleNamespace(
            max_epochs=cfg.train_cfg.max_epochs,
            max_iters=cfg.train_cfg.max_epochs * batches,
            dataloader=range(batches),
        ),
        train_dataloader=range(batches),
        max_epochs=cfg.train_cfg.max_epochs,
        max_iters=cfg.train_cfg.max_epochs * batches,
    )
    schedulers = Runner._build_param_scheduler(
        runner, cfg.param_scheduler, optimizer
    )
    rates = []
    for _ in range(cfg.train_cfg.max_epochs):
        rates.append(optimizer.get_lr()['lr'][0])
        for _ in range(batches):
            optimizer.optimizer.step()
            for scheduler in schedulers:
                if not scheduler.by_epoch:
                    scheduler.step()
        for scheduler in schedulers:
            if scheduler.by_epoch:
                scheduler.step()
    return rates


@pytest.mark.parametrize('family', CIFAR_FAMILIES)
def test_cifar(family):
    cfg = read(leaf(family))
    rates = learning_rates(cfg)
    assert len(rates) == 200
    for epoch, rate in (
        (0, 0.1),
        (59, 0.1),
        (60, 0.02),
        (119, 0.02),
        (120, 0.004),
        (159, 0.004),
        (160, 0.0008),
        (199, 0.0008),
    ):
        assert rates[epoch] == pytest.approx(rate)
    assert cfg.optim_wrapper.optimizer == dict(
        type='SGD', lr=0.1, momentum=0.9, weight_decay=5e-4
    )
    assert cfg.train_dataloader.batch_size == 128
    assert cfg.auto_scale_lr.base_batch_size == 128
    # the last epoch's weights are tested and kept
    assert 200 % cfg.train_cfg.val_interval == 0
    assert 200 % cfg.default_hooks.checkpoint.interval == 0


def test_all_cifar_recipes_are_in_that_test():
    assert len(CIFAR_FAMILIES) == 9


@pytest.mark.parametrize(
    'family,epochs,warm_up,first,peak,last,per_gpu,decay,clip',
    [
        *(
            (family, 300, 20, 1e-5, 1e-3, 1e-5, 128, 0.05, 5.0)
            for family in SWIN
        ),
        (VIT, 300, 30, 3e-3 * 0.033, 3e-3, 0, 512, 0.3, 1.0),
        (REGNET, 100, 5, 0.08, 0.8, 0, 128, 5e-5, None),
    ],
)
def test_torchvision_s(
    family, epochs, warm_up, first, peak, last, per_gpu, decay, clip
):
    cfg = read(leaf(family))
    rates = learning_rates(cfg)
    assert len(rates) == epochs
    assert rates[0] == pytest.approx(first)
    assert rates[warm_up] == max(rates) == pytest.approx(peak)
    assert rates[:warm_up] == sorted(rates[:warm_up])
    assert rates[warm_up:] == sorted(rates[warm_up:], reverse=True)
    middle = (warm_up + epochs) // 2  # of a cosine
    assert rates[middle] == pytest.approx((peak + last) / 2, rel=0.02)
    assert rates[-1] == pytest.approx(last, abs=1e-3 * peak)
    assert cfg.train_dataloader.batch_size == per_gpu
    assert cfg.auto_scale_lr.base_batch_size == 8 * per_gpu
    assert cfg.optim_wrapper.optimizer.weight_decay == decay
    clips = cfg.optim_wrapper.get('clip_grad', {}).get('max_norm')
    assert clips == clip
    sgd = family == REGNET
    assert cfg.optim_wrapper.optimizer.type == ('SGD' if sgd else 'AdamW')


@pytest.mark.parametrize(
    'family,batch,begin',
    [
        *((family, 1024, 20) for family in SWIN),
        (VIT, 4096, 30),
    ],
)
def test_weights_are_averaged_as_by_torchvision(family, batch, begin):
    (hook,) = read(leaf(family)).custom_hooks
    built = HOOKS.build(hook)
    assert built.begin_epoch == begin
    # its 0.99998 is that of a step; scaled to 32 steps' share of an epoch
    assert built.ema_cfg['interval'] == 32
    assert built.ema_cfg['momentum'] == pytest.approx(
        (1 - 0.99998) * batch * 32 / 300
    )
    anchored = read(leaf(family, '_anchored-masked')).custom_hooks
    assert anchored[0] == hook and len(anchored) == 2


def test_norms_and_biases_do_not_decay():
    cfg = Config(read('imagenet/swinv2-tiny_imagenet.py').to_dict())
    cfg.model.backbone.arch = dict(
        embed_dims=8,
        depths=[1, 1, 1, 1],
        num_heads=[1, 1, 1, 1],
        extra_norm_every_n_blocks=0,
    )
    cfg.model.head.in_channels = 64
    optimizer = build_optim_wrapper(
        MODELS.build(dict(cfg.model)), cfg.optim_wrapper
    )
    decays = {}
    for group in optimizer.optimizer.param_groups:
        for parameter in group['params']:
            decays.setdefault(group['weight_decay'], []).append(
                parameter.dim()
            )
    assert set(decays) == {0, 0.05}
    assert max(decays[0]) == 1 and min(decays[0.05]) > 1


def test_deit_is_mmpretrain_s():
    ours = read(leaf(DEIT)).to_dict()
    host = Config.fromfile(
        Path(mmpretrain.__file__).parent
        / '.mim/configs/deit/deit-small_4xb256_in1k.py'
    ).to_dict()
    own = ('default_hooks', 'randomness')
    compared = {key: value for key, value in host.items() if key not in own}
    assert {'model', 'param_scheduler', 'train_dataloader'} <= set(compared)
    assert without_scopes(
        {key: ours[key] for key in compared}
    ) == without_scopes(compared)
    assert ours['train_cfg']['max_epochs'] == 300


def without_scopes(config):
    """Leave out what inheriting from another package adds."""
    if isinstance(config, dict):
        return {
            key: without_scopes(value)
            for key, value in config.items()
            if key != '_scope_'
        }
    if isinstance(config, (list, tuple)):
        return [without_scopes(value) for value in config]
    return config
