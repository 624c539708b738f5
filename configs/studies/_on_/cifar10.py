"""CIFAR-10 and CIFAR-10-C as published, the paper's ResNet-18."""

title = 'CIFAR-10, ResNet-18'
configs = dict(
    standard='cifar10/resnet18_cifar10.py',
    anchored='cifar10/resnet18_anchored_cifar10.py',
    masked='cifar10/resnet18_anchored-masked_cifar10.py',
)
suite = 'cifar10'
shifted = 'CIFAR-10-C'
