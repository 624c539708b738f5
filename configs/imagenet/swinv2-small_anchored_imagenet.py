"""SwinV2-S on ImageNet-1K, anchored, 300 epochs.

The paper has no figure for this one. Not run here yet:
    tools/dist_train.sh \
        configs/imagenet/swinv2-small_anchored_imagenet.py 8 --amp
"""

_base_ = './swinv2-small_imagenet.py'
model = dict(type='AnchoredImageClassifier')
data_preprocessor = dict(type='AnchoringDataPreprocessor', mask_prob=0)
custom_hooks = [
    *_base_.custom_hooks,
    dict(type='KReferenceHook', num_references=5),
]
