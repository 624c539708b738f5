"""ResNet-18 on CIFAR-100, anchored with masking, 200 epochs.

Published (marks: docs/recipes.md): top-1 53.49 ± 0.38 % on CIFAR-100-C [T],
38.06 % at severity 5 [V]; none clean. Not run here yet:
    python tools/train.py configs/cifar100/resnet18_anchored-masked_cifar100.py
"""

_base_ = './resnet18_anchored_cifar100.py'
data_preprocessor = dict(mask_prob=0.25)
