"""ResNet-18 on CIFAR-10, anchored with masking, 200 epochs.

Published (marks: docs/recipes.md): top-1 95.7 % clean, 80.8 % on
CIFAR-10-C [F], 67.2 % of it at severity 5 [F]. Not run here yet:
    python tools/train.py configs/cifar10/resnet18_anchored-masked_cifar10.py
"""

_base_ = './resnet18_anchored_cifar10.py'
data_preprocessor = dict(mask_prob=0.25)
