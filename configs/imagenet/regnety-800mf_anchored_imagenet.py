"""RegNetY-800MF on ImageNet-1K, anchored, 100 epochs.

The paper has no figure for this one. Not run here yet:
    tools/dist_train.sh configs/imagenet/regnety-800mf_anchored_imagenet.py 8
"""

_base_ = './regnety-800mf_imagenet.py'
model = dict(type='AnchoredImageClassifier')
data_preprocessor = dict(type='AnchoringDataPreprocessor', mask_prob=0)
custom_hooks = [dict(type='KReferenceHook', num_references=5)]
