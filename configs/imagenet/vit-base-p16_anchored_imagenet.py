"""ViT-B/16 on ImageNet-1K, anchored, 300 epochs.

The paper has no figure for this one. Not run here yet:
    tools/dist_train.sh \
        configs/imagenet/vit-base-p16_anchored_imagenet.py 8 --amp
"""

_base_ = './vit-base-p16_imagenet.py'
model = dict(type='AnchoredImageClassifier')
data_preprocessor = dict(type='AnchoringDataPreprocessor', mask_prob=0)
custom_hooks = [
    *_base_.custom_hooks,
    dict(type='KReferenceHook', num_references=5),
]
