"""ResNet-18 of width 16 on the digits, anchored without masking.

Expect about 99.4 % on the 500 test images (seed 0, K = 10):
    python tools/train.py configs/digits/resnet18-w16_anchored_digits.py
"""

_base_ = './resnet18-w16_digits.py'
model = dict(type='AnchoredImageClassifier')
data_preprocessor = dict(type='AnchoringDataPreprocessor', mask_prob=0)
custom_hooks = [dict(type='KReferenceHook', num_references=10)]
