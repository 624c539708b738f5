"""CIFAR-100 and CIFAR-100-C as published, the paper's ResNet-18."""

title = 'CIFAR-100, ResNet-18'
configs = dict(
    standard='cifar100/resnet18_cifar100.py',
    anchored='cifar100/resnet18_anchored_cifar100.py',
    masked='cifar100/resnet18_anchored-masked_cifar100.py',
)
suite = 'cifar100'
shifted = 'CIFAR-100-C'
