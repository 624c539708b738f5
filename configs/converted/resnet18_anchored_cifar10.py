"""The authors' ResNet-18 for CIFAR-10, converted; not run yet.

One reference, as their evaluation takes, from the training set:
    python tools/test.py \
        configs/converted/resnet18_anchored_cifar10.py converted.pth
"""

_base_ = './resnet18_cifar10.py'
model = dict(type='AnchoredImageClassifier')
data_preprocessor = dict(type='AnchoringDataPreprocessor', mask_prob=0.25)
custom_hooks = [dict(type='KReferenceHook', num_references=1)]
