"""ResNet-18 of width 16 on CIFAR-10, standard training, 6 epochs.

Expect about 78 % after a quarter of an hour on two cores (seed 0, JPEG):
    python tools/train.py configs/cifar10/resnet18-w16_cifar10-folders.py
"""

_base_ = [
    'mmpretrain::_base_/models/resnet18_cifar.py',
    '../_base_/datasets/cifar10_folders.py',
    '../_base_/schedules/cifar10_short.py',
    '../_base_/default_runtime.py',
]
model = dict(
    backbone=dict(stem_channels=16, base_channels=16),
    head=dict(in_channels=128),
)
