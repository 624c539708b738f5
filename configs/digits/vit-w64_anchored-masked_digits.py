"""A ViT of four layers and width 64 on the digits, with reference masking.

Expect about 98.1 % on the 500 test images (three seeds, K = 1):
    python tools/train.py configs/digits/vit-w64_anchored-masked_digits.py
"""

_base_ = './vit-w64_anchored_digits.py'
data_preprocessor = dict(mask_prob=0.25)
