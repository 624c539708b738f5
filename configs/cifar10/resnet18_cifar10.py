"""ResNet-18 on CIFAR-10, standard training, 200 epochs.

Published (marks: docs/recipes.md): top-1 95.2 % clean, 75.64 % on
CIFAR-10-C [F], 58.7 % of it at severity 5 [F]. Not run here yet:
    python tools/train.py configs/cifar10/resnet18_cifar10.py
"""

_base_ = [
    'mmpretrain::_base_/models/resnet18_cifar.py',
    '../_base_/datasets/cifar10.py',
    '../_base_/schedules/cifar_200e.py',
    '../_base_/default_runtime.py',
]
default_hooks = dict(checkpoint=dict(interval=10, max_keep_ckpts=2))
