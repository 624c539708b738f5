"""WRN-40-2 on CIFAR-10, anchored with masking, 200 epochs.

The paper has no figure for this one. Not run here yet:
    python tools/train.py configs/cifar10/wrn-40-2_anchored-masked_cifar10.py
"""

_base_ = './wrn-40-2_anchored_cifar10.py'
data_preprocessor = dict(mask_prob=0.25)
