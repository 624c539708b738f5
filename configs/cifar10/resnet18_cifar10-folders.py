"""ResNet-18 on CIFAR-10 as folders, standard training, 200 epochs.

Images in class folders; published figures are those of resnet18_cifar10.py.
Not run here yet:
    python tools/train.py configs/cifar10/resnet18_cifar10-folders.py
"""

_base_ = [
    'mmpretrain::_base_/models/resnet18_cifar.py',
    '../_base_/datasets/cifar10_folders.py',
    '../_base_/schedules/cifar_200e.py',
    '../_base_/default_runtime.py',
]
default_hooks = dict(checkpoint=dict(interval=10, max_keep_ckpts=2))
