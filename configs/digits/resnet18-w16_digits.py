"""ResNet-18 of width 16 on the digits, standard training.

Expect about 99.8 % on the 500 test images (seed 0) in under a minute:
    python tools/train.py configs/digits/resnet18-w16_digits.py
"""

_base_ = [
    'mmpretrain::_base_/models/resnet18_cifar.py',
    '../_base_/datasets/digits.py',
    '../_base_/schedules/digits.py',
    '../_base_/default_runtime.py',
]
model = dict(
    backbone=dict(stem_channels=16, base_channels=16),
    head=dict(in_channels=128),
)
default_hooks = dict(
    logger=dict(interval=20), checkpoint=dict(interval=10, max_keep_ckpts=2)
)
