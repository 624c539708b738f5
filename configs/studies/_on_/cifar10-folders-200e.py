"""CIFAR-10 as JPEG in class folders, the paper's ResNet-18 and 200 epochs."""

title = 'CIFAR-10 (JPEG), ResNet-18'
configs = dict(
    standard='cifar10/resnet18_cifar10-folders.py',
    anchored='cifar10/resnet18_anchored_cifar10-folders.py',
    masked='cifar10/resnet18_anchored-masked_cifar10-folders.py',
)
suite = 'cifar10-folders'
shifted = 'corrupted'
