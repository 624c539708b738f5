"""CIFAR-10 as images in class folders, corrupted here rather than published.

`data/cifar10/test/CLASS/*.jpg` is all it needs; the corrupted copies, 2.9 GB,
go to `data/cifar10-folders-cifar-c`. They have CIFAR-10-C's settings, so that
figures compare with published ones on the whole, but not image by image.
    python tools/evaluate.py CONFIG CHECKPOINT --suite cifar10-folders
"""

title = 'CIFAR-10 (class folders)'
clean = dict(
    name='CIFAR-10',
    dataset=dict(type='CustomDataset', data_root='cifar10/test'),
)
shifts = [
    dict(
        name='corrupted',
        dataset=dict(
            type='CorruptedArrays', data_root='cifar10-folders-cifar-c'
        ),
        make=True,
        settings='cifar-c',
    ),
]
# images that come with scikit-learn
ood = [
    dict(
        name='Photographs',
        dataset=dict(type='PhotoPatches', size=32, count=2000),
    ),
    dict(
        name='Digits',
        dataset=dict(type='Digits', split='test'),
        steps=[dict(type='Resize', scale=32, interpolation='bicubic')],
    ),
]
