"""ResNet-18, TrivialAugment, CIFAR-100, anchored with masking, 200 epochs.

Published (marks: docs/recipes.md): top-1 51.22 % on CIFAR-100-C at severity
5 [V]. Not run here yet:
    python tools/train.py \
        configs/cifar100/resnet18-trivialaugment_anchored-masked_cifar100.py
"""

_base_ = './resnet18-trivialaugment_anchored_cifar100.py'
data_preprocessor = dict(mask_prob=0.25)
