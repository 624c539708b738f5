"""ResNet-18 for 32 px, as released CIFAR-100 checkpoints have it.

Normalised as CIFAR-10, which is what the authors' scripts do:
    python tools/test.py configs/converted/resnet18_cifar100.py plain.pth
"""

_base_ = [
    'mmpretrain::_base_/models/resnet18_cifar.py',
    'mmpretrain::_base_/datasets/cifar100_bs16.py',
    'mmpretrain::_base_/schedules/cifar10_bs128.py',
    '../_base_/default_runtime.py',
]
custom_imports = dict(imports=['mmanchor'], allow_failed_imports=False)
model = dict(head=dict(num_classes=100))
data_preprocessor = dict(
    mean=[125.307, 122.961, 113.8575], std=[51.5865, 50.847, 51.255]
)
