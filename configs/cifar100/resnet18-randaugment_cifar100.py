"""ResNet-18, RandAugment, CIFAR-100, standard training, 200 epochs.

Published (marks: docs/recipes.md): top-1 49.74 % on CIFAR-100-C at severity
5 [V]. Not run here yet:
    python tools/train.py configs/cifar100/resnet18-randaugment_cifar100.py
"""

_base_ = [
    './resnet18_cifar100.py',
    '../_base_/augmentations/cifar.py',
]
train_dataloader = dict(dataset=dict(pipeline=_base_.rand_augment))
