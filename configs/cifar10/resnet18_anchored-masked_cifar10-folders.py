"""ResNet-18 on CIFAR-10 as folders, anchored with masking, 200 epochs.

Images in class folders; published figures are those of
resnet18_anchored-masked_cifar10.py. Not run here yet:
    python tools/train.py \
        configs/cifar10/resnet18_anchored-masked_cifar10-folders.py
"""

_base_ = './resnet18_anchored_cifar10-folders.py'
data_preprocessor = dict(mask_prob=0.25)
