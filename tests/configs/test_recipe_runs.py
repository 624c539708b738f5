"""Recipes run, on a few images and with smaller models."""

import pytest
import torch
from helpers.recipe_leaves import read
from mmengine.runner import Runner

SMALL_BATCHES = {
    'train_dataloader.batch_size': 20,
    'val_dataloader.batch_size': 8,
    'test_dataloader.batch_size': 8,
}
NARROW = {
    'model.backbone.stem_channels': 8,
    'model.backbone.base_channels': 8,
    'model.head.in_channels': 64,
}
FEW = {
    'train_dataloader.batch_size': 6,
    'train_dataloader.dataset.indices': 12,
    'val_dataloader.dataset.indices': 4,
    'test_dataloader.dataset.indices': 4,
}
RUNS = {
    'cifar100/wrn-40-2_anchored-masked_cifar100.py': {
        **SMALL_BATCHES,
        'model.backbone.depth': 10,
    },
    'cifar10/resnet18_cifar10.py': {**SMALL_BATCHES, **NARROW},
    'cifar10/resnet18_anchored-masked-released_cifar10.py': {
        **SMALL_BATCHES,
        **NARROW,
    },
    'cifar10/resnet18_subtractive-mix_cifar10-folders.py': {
        **SMALL_BATCHES,
        **NARROW,
        'train_dataloader.batch_size': 5,
    },
    'cifar100/resnet18-pixmix_anchored_cifar100.py': {
        **SMALL_BATCHES,
        **NARROW,
    },
    'cifar100/resnet18_anchored-masked_cifar100-folders.py': {
        **SMALL_BATCHES,
        **NARROW,
        'train_dataloader.batch_size': 50,
    },
    'imagenet/swinv2-tiny_anchored-masked_imagenet.py': {
        **FEW,
        'custom_hooks.0.interval': 2,
        'custom_hooks.0.begin_epoch': 1,
        'model.backbone.arch': dict(
            _delete_=True,
            embed_dims=8,
            depths=[1, 1, 1, 1],
            num_heads=[1, 1, 1, 1],
            extra_norm_every_n_blocks=0,
        ),
        'model.head.in_channels': 64,
    },
    'imagenet/regnety-800mf_anchored_imagenet.py': {
        **FEW,
        'model.backbone.arch': '400mf',
        'model.head.in_channels': 440,
    },
}


def make_runner(name, changes, folder, rate=None) -> Runner:
    """For an epoch of a recipe, with a share of the labels wrong."""
    cfg = read(name)
    cfg.merge_from_dict(
        {
            'work_dir': str(folder),
            'log_level': 'ERROR',
            'train_cfg.max_epochs': 1,
            'train_cfg.val_interval': 1,
            'default_hooks.checkpoint.interval': 1,
            **changes,
        }
    )
    for loader in ('train', 'val', 'test'):
        cfg[f'{loader}_dataloader'].update(
            num_workers=0, persistent_workers=False
        )
    if rate is not None:
        cfg.train_dataloader.dataset = dict(
            type='SymmetricLabelNoise',
            rate=rate,
            dataset=cfg.train_dataloader.dataset,
        )
    cfg.experiment_name = folder.name
    return Runner.from_cfg(cfg)


@pytest.mark.parametrize('name,changes', RUNS.items())
def test_an_epoch_and_its_validation(name, changes, with_data, tmp_path):
    runner = make_runner(name, changes, tmp_path)
    runner.train()
    assert runner.iter == 2
    saved = torch.load(tmp_path / 'epoch_1.pth', weights_only=False)[
        'state_dict'
    ]
    (stem,) = {
        key: value
        for key, value in saved.items()
        if value.dim() == 4
        and value.shape[1] in (3, 6)
        and key.startswith('backbone')
    }
    anchored = '_anchored' in name
    assert saved[stem].shape[1] == (6 if anchored else 3)
    size = 256 if 'swin' in name else 224 if 'imagenet' in name else 32
    if anchored:
        count = 5 if 'imagenet' in name else 1
        assert saved['reference_bank.images'].shape == (count, 3, size, size)
    metrics = runner.test()
    assert 0 <= metrics['accuracy/top1'] <= 100


def test_wrong_labels_change_what_is_learned(with_data, tmp_path):
    name = 'cifar100/wrn-40-2_anchored-masked_cifar100.py'
    weights = []
    for run, rate in (('plain', None), ('none', 0), ('half', 0.5)):
        runner = make_runner(name, RUNS[name], tmp_path / run, rate)
        runner.train()
        weights.append(runner.model.head.fc.weight.detach().clone())
        assert len(runner.model.reference_bank) == 1
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
