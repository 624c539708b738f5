"""ResNet-18 on CIFAR-10, anchored, 200 epochs.

Published (marks: docs/recipes.md): top-1 76.38 % on CIFAR-10-C [F]; none
clean. Not run here yet:
    python tools/train.py configs/cifar10/resnet18_anchored_cifar10.py
"""

_base_ = './resnet18_cifar10.py'
model = dict(type='AnchoredImageClassifier')
data_preprocessor = dict(type='AnchoringDataPreprocessor', mask_prob=0)
custom_hooks = [dict(type='KReferenceHook', num_references=1)]
