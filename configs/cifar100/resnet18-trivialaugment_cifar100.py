"""ResNet-18, TrivialAugment, CIFAR-100, standard training, 200 epochs.

Published (marks: docs/recipes.md): top-1 47.42 % on CIFAR-100-C at severity
5 [V]. Not run here yet:
    python tools/train.py configs/cifar100/resnet18-trivialaugment_cifar100.py
"""

_base_ = [
    './resnet18_cifar100.py',
    '../_base_/augmentations/cifar.py',
]
train_dataloader = dict(dataset=dict(pipeline=_base_.trivial_augment))
