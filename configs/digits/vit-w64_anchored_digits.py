"""A ViT of four layers and width 64 on the digits, anchored without masking.

Expect about 99.1 % on the 500 test images (three seeds, K = 1):
    python tools/train.py configs/digits/vit-w64_anchored_digits.py
"""

_base_ = './vit-w64_digits.py'
model = dict(type='AnchoredImageClassifier')
data_preprocessor = dict(type='AnchoringDataPreprocessor', mask_prob=0)
custom_hooks = [dict(type='KReferenceHook', num_references=10)]
