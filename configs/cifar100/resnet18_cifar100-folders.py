"""ResNet-18 on CIFAR-100 as folders, standard training, 200 epochs.

Images in class folders; published figures are those of resnet18_cifar100.py.
Not run here yet:
    python tools/train.py configs/cifar100/resnet18_cifar100-folders.py
"""

_base_ = [
    'mmpretrain::_base_/models/resnet18_cifar.py',
    '../_base_/datasets/cifar100_folders.py',
    '../_base_/schedules/cifar_200e.py',
    '../_base_/default_runtime.py',
]
model = dict(head=dict(num_classes=100))
default_hooks = dict(checkpoint=dict(interval=10, max_keep_ckpts=2))
