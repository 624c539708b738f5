"""WRN-40-2 on CIFAR-100, standard training, 200 epochs.

Published (marks: docs/recipes.md): top-1 75.5 % clean, 30.0 % on CIFAR-100-C
at severity 5 [F]. Not run here yet:
    python tools/train.py configs/cifar100/wrn-40-2_cifar100.py
"""

_base_ = [
    '../_base_/models/wrn-40-2_cifar.py',
    '../_base_/datasets/cifar100.py',
    '../_base_/schedules/cifar_200e.py',
    '../_base_/default_runtime.py',
]
model = dict(head=dict(num_classes=100))
default_hooks = dict(checkpoint=dict(interval=10, max_keep_ckpts=2))
