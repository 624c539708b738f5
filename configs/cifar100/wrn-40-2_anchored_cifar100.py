"""WRN-40-2 on CIFAR-100, anchored, 200 epochs.

The paper has no figure for this one. Not run here yet:
    python tools/train.py configs/cifar100/wrn-40-2_anchored_cifar100.py
"""

_base_ = './wrn-40-2_cifar100.py'
model = dict(type='AnchoredImageClassifier')
data_preprocessor = dict(type='AnchoringDataPreprocessor', mask_prob=0)
custom_hooks = [dict(type='KReferenceHook', num_references=1)]
