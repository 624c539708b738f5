"""ResNet-18 of width 16 on CIFAR-10, anchored with masking, 6 epochs.

Expect about 70 % (seed 0, K = 10, JPEG); 6 epochs are too few for masking:
    python tools/train.py \
        configs/cifar10/resnet18-w16_anchored-masked_cifar10-folders.py
"""

_base_ = './resnet18-w16_cifar10-folders.py'
model = dict(type='AnchoredImageClassifier')
data_preprocessor = dict(type='AnchoringDataPreprocessor', mask_prob=0.25)
custom_hooks = [dict(type='KReferenceHook', num_references=10)]
