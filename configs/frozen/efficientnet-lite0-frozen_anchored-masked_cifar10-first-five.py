"""The same head, anchored with reference masking, 30 epochs.

    python tools/train.py configs/frozen/\
efficientnet-lite0-frozen_anchored-masked_cifar10-first-five.py
"""

_base_ = './efficientnet-lite0-frozen_cifar10-first-five.py'
model = dict(type='AnchoredImageClassifier', anchor_at='head')
data_preprocessor = dict(type='AnchoringDataPreprocessor', mask_prob=0.25)
custom_hooks = [
    dict(type='KReferenceHook', num_references=10),
    dict(type='FrozenBackboneHook'),
]
