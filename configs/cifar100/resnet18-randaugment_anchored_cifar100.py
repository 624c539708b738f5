"""ResNet-18, RandAugment, CIFAR-100, anchored, 200 epochs.

Published (marks: docs/recipes.md): top-1 50.15 % on CIFAR-100-C at severity
5 [V]. Not run here yet:
    python tools/train.py \
        configs/cifar100/resnet18-randaugment_anchored_cifar100.py
"""

_base_ = './resnet18-randaugment_cifar100.py'
model = dict(type='AnchoredImageClassifier')
data_preprocessor = dict(type='AnchoringDataPreprocessor', mask_prob=0)
custom_hooks = [dict(type='KReferenceHook', num_references=1)]
