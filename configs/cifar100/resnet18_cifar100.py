"""ResNet-18 on CIFAR-100, standard training, 200 epochs.

Published (marks: docs/recipes.md): top-1 50.18 % on CIFAR-100-C, 33.98 % at
severity 5 [V]; none clean. Not run here yet:
    python tools/train.py configs/cifar100/resnet18_cifar100.py
"""

_base_ = [
    'mmpretrain::_base_/models/resnet18_cifar.py',
    '../_base_/datasets/cifar100.py',
    '../_base_/schedules/cifar_200e.py',
    '../_base_/default_runtime.py',
]
model = dict(head=dict(num_classes=100))
default_hooks = dict(checkpoint=dict(interval=10, max_keep_ckpts=2))
