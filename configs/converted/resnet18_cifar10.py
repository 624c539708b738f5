"""ResNet-18 for 32 px, as released CIFAR-10 checkpoints have it.

Base of resnet18_anchored_cifar10.py, and for plain weights that
tools/convert_checkpoint.py converted:
    python tools/test.py configs/converted/resnet18_cifar10.py plain.pth
"""

_base_ = [
    'mmpretrain::_base_/models/resnet18_cifar.py',
    'mmpretrain::_base_/datasets/cifar10_bs16.py',
    'mmpretrain::_base_/schedules/cifar10_bs128.py',
    '../_base_/default_runtime.py',
]
custom_imports = dict(imports=['mmanchor'], allow_failed_imports=False)
