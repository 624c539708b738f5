"""ResNet-18 of width 16 on the digits, anchored with reference masking.

Expect about 99.4 % on the 500 test images (seed 0, K = 10):
    python tools/train.py configs/digits/resnet18-w16_anchored-masked_digits.py
"""

_base_ = './resnet18-w16_anchored_digits.py'
data_preprocessor = dict(mask_prob=0.25)
