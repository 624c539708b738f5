"""SwinV2-B on ImageNet-1K, anchored, 300 epochs.

Published (marks: docs/recipes.md): top-1 84.06 % clean, in the released
code [R]. Not run here yet:
    tools/dist_train.sh \
        configs/imagenet/swinv2-base_anchored_imagenet.py 8 --amp
"""

_base_ = './swinv2-base_imagenet.py'
model = dict(type='AnchoredImageClassifier')
data_preprocessor = dict(type='AnchoringDataPreprocessor', mask_prob=0)
custom_hooks = [
    *_base_.custom_hooks,
    dict(type='KReferenceHook', num_references=5),
]
