"""CIFAR-10 as JPEG in class folders, narrower and longer: for processors.

12 minutes of training and 7 of measuring a model on a core of 2023.
"""

title = 'CIFAR-10 (JPEG), ResNet-18 of width 8, 10 epochs'
_small = {
    'model.backbone.stem_channels': 8,
    'model.backbone.base_channels': 8,
    'model.head.in_channels': 64,
    'default_hooks.channels_last': dict(type='ChannelsLastHook'),
    'train_cfg.max_epochs': 10,
    'param_scheduler.1.end': 10,
}
_masked = 'cifar10/resnet18-w16_anchored-masked_cifar10-folders.py'
configs = dict(
    standard=dict(
        config='cifar10/resnet18-w16_cifar10-folders.py', options=_small
    ),
    anchored=dict(
        config=_masked, options={**_small, 'data_preprocessor.mask_prob': 0.0}
    ),
    masked=dict(config=_masked, options=_small),
)
suite = 'cifar10-folders'
shifted = 'corrupted'
