"""The same, anchored with reference masking."""
_base_ = './resnet18-w16_anchored_digits.py'
data_preprocessor = dict(mask_prob=0.25)
