"""DeiT-S on ImageNet-1K, anchored, 300 epochs.

The paper has no figure for this one. Not run here yet:
    tools/dist_train.sh configs/imagenet/deit-small_anchored_imagenet.py 4
"""

_base_ = './deit-small_imagenet.py'
model = dict(type='AnchoredImageClassifier')
data_preprocessor = dict(type='AnchoringDataPreprocessor', mask_prob=0)
custom_hooks = [dict(type='KReferenceHook', num_references=5)]
