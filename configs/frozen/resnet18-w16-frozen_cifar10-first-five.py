"""A head with a hidden layer on a frozen ResNet-18, 30 epochs in a minute.

The backbone saw five classes of CIFAR-10, the head learns the other five:
    python tools/train.py configs/frozen/resnet18-w16_cifar10-last-five.py
    python tools/train.py \
        configs/frozen/resnet18-w16-frozen_cifar10-first-five.py
"""

_base_ = [
    'mmpretrain::_base_/models/resnet18_cifar.py',
    '../_base_/datasets/cifar10_first_five.py',
    '../_base_/schedules/head_30e.py',
    '../_base_/default_runtime.py',
]
model = dict(
    backbone=dict(stem_channels=16, base_channels=16),
    head=dict(
        type='StackedLinearClsHead',
        num_classes=5,
        in_channels=128,
        mid_channels=[256],
    ),
)
train_dataloader = dict(batch_size=64)
load_from = 'work_dirs/resnet18-w16_cifar10-last-five/epoch_10.pth'
custom_hooks = [dict(type='FrozenBackboneHook')]
default_hooks = dict(checkpoint=dict(interval=30))
