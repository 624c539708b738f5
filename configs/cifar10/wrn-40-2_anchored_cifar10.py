"""WRN-40-2 on CIFAR-10, anchored, 200 epochs.

The paper has no figure for this one. Not run here yet:
    python tools/train.py configs/cifar10/wrn-40-2_anchored_cifar10.py
"""

_base_ = './wrn-40-2_cifar10.py'
model = dict(type='AnchoredImageClassifier')
data_preprocessor = dict(type='AnchoringDataPreprocessor', mask_prob=0)
custom_hooks = [dict(type='KReferenceHook', num_references=1)]
