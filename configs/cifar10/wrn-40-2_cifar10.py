"""WRN-40-2 on CIFAR-10, standard training, 200 epochs.

The paper has no figure for this one. Not run here yet:
    python tools/train.py configs/cifar10/wrn-40-2_cifar10.py
"""

_base_ = [
    '../_base_/models/wrn-40-2_cifar.py',
    '../_base_/datasets/cifar10.py',
    '../_base_/schedules/cifar_200e.py',
    '../_base_/default_runtime.py',
]
default_hooks = dict(checkpoint=dict(interval=10, max_keep_ckpts=2))
