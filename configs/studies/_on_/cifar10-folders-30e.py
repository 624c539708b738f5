"""CIFAR-10 as JPEG in class folders, ResNet-18, 30 epochs: for GPUs.

Not run yet. Two workers a model, so that several train on one card.
"""

title = 'CIFAR-10 (JPEG), ResNet-18, 30 epochs'
_short = {
    'train_dataloader.batch_size': 512,
    'train_dataloader.num_workers': 2,
    'train_dataloader.persistent_workers': True,
    'train_dataloader.drop_last': True,
    'default_hooks.channels_last': dict(type='ChannelsLastHook'),
    'optim_wrapper.type': 'AmpOptimWrapper',
    'optim_wrapper.dtype': 'bfloat16',
    # the rate of batches of 128, times four
    'optim_wrapper.optimizer.lr': 0.4,
    'optim_wrapper.optimizer.nesterov': True,
    'train_cfg.max_epochs': 30,
    'param_scheduler': [
        dict(
            type='LinearLR',
            start_factor=0.1,
            end=5,
            convert_to_iter_based=True,
        ),
        dict(
            type='CosineAnnealingLR',
            begin=5,
            end=30,
            convert_to_iter_based=True,
        ),
    ],
    'default_hooks.checkpoint.interval': 5,
}
# for the spread over single references
_anchored = {**_short, 'custom_hooks.0.num_references': 10}
_masked = 'cifar10/resnet18_anchored-masked_cifar10-folders.py'
configs = dict(
    standard=dict(
        config='cifar10/resnet18_cifar10-folders.py', options=_short
    ),
    anchored=dict(
        config=_masked,
        options={**_anchored, 'data_preprocessor.mask_prob': 0.0},
    ),
    masked=dict(config=_masked, options=_anchored),
)
suite = 'cifar10-folders'
shifted = 'corrupted'
