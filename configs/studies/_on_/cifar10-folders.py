"""CIFAR-10 as JPEG in class folders, 6 epochs: not the paper's recipe."""

title = 'CIFAR-10 (JPEG), ResNet-18 of width 16'
_masked = 'cifar10/resnet18-w16_anchored-masked_cifar10-folders.py'
configs = dict(
    standard='cifar10/resnet18-w16_cifar10-folders.py',
    anchored=dict(
        config=_masked, options={'data_preprocessor.mask_prob': 0.0}
    ),
    masked=_masked,
)
suite = 'cifar10-folders'
shifted = 'corrupted'
