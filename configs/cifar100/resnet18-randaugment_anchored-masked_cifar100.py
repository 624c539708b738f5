"""ResNet-18, RandAugment, CIFAR-100, anchored with masking, 200 epochs.

Published (marks: docs/recipes.md): top-1 53.70 % on CIFAR-100-C at severity
5 [V]. Not run here yet:
    python tools/train.py \
        configs/cifar100/resnet18-randaugment_anchored-masked_cifar100.py
"""

_base_ = './resnet18-randaugment_anchored_cifar100.py'
data_preprocessor = dict(mask_prob=0.25)
