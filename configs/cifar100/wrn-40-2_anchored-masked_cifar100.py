"""WRN-40-2 on CIFAR-100, anchored with masking, 200 epochs.

Published (marks: docs/recipes.md): top-1 77.0 % clean, 35.5 % on CIFAR-100-C
at severity 5 [F]. Not run here yet:
    python tools/train.py configs/cifar100/wrn-40-2_anchored-masked_cifar100.py
"""

_base_ = './wrn-40-2_anchored_cifar100.py'
data_preprocessor = dict(mask_prob=0.25)
