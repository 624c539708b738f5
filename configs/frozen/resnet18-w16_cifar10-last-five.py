"""ResNet-18 of width 16 on five classes of CIFAR-10, 10 epochs.

The backbone of the heads in this folder, which learn the other five classes.
It takes some minutes on a core:
    python tools/train.py configs/frozen/resnet18-w16_cifar10-last-five.py
"""

_base_ = [
    'mmpretrain::_base_/models/resnet18_cifar.py',
    '../_base_/datasets/cifar10_last_five.py',
    '../_base_/schedules/cifar10_short.py',
    '../_base_/default_runtime.py',
]
model = dict(
    backbone=dict(stem_channels=16, base_channels=16),
    head=dict(num_classes=5, in_channels=128),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, end=1, convert_to_iter_based=True),
    dict(
        type='CosineAnnealingLR', begin=1, end=10, convert_to_iter_based=True
    ),
]
train_cfg = dict(max_epochs=10, val_interval=10)
default_hooks = dict(
    channels_last=dict(type='ChannelsLastHook'),
    checkpoint=dict(interval=10),
)
