"""ResNet-18, PixMix, CIFAR-100, standard training, 200 epochs.

Published (marks: docs/recipes.md): top-1 58.57 % on CIFAR-100-C at severity
5 [V]. Needs the pictures of PixMix in data/fractals_and_fvis. Not run here
yet:
    python tools/train.py configs/cifar100/resnet18-pixmix_cifar100.py
"""

_base_ = [
    './resnet18_cifar100.py',
    '../_base_/augmentations/cifar.py',
]
train_dataloader = dict(dataset=dict(pipeline=_base_.pixmix))
