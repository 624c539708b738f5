"""ResNet-18 on CIFAR-100 as folders, anchored, 200 epochs.

Images in class folders; published figures are those of
resnet18_anchored_cifar100.py. Not run here yet:
    python tools/train.py \
        configs/cifar100/resnet18_anchored_cifar100-folders.py
"""

_base_ = './resnet18_cifar100-folders.py'
model = dict(type='AnchoredImageClassifier')
data_preprocessor = dict(type='AnchoringDataPreprocessor', mask_prob=0)
custom_hooks = [dict(type='KReferenceHook', num_references=1)]
