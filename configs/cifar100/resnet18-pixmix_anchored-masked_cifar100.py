"""ResNet-18, PixMix, CIFAR-100, anchored with masking, 200 epochs.

Published (marks: docs/recipes.md): top-1 59.60 % on CIFAR-100-C at severity
5 [V]. Needs the pictures of PixMix in data/fractals_and_fvis. Not run here
yet:
    python tools/train.py \
        configs/cifar100/resnet18-pixmix_anchored-masked_cifar100.py
"""

_base_ = './resnet18-pixmix_anchored_cifar100.py'
data_preprocessor = dict(mask_prob=0.25)
