"""As cifar10-folders, with 2,000 of the 10,000 images corrupted.

A fifth of the time and of the room (0.6 GB, in
`data/cifar10-folders-2k-cifar-c`): 200 images of each class, the same for all
kinds and severities, drawn by a seed. Clean figures are of all 10,000.
    python tools/evaluate.py CONFIG CHECKPOINT --suite cifar10-folders-2k
"""

_base_ = 'cifar10-folders.py'
title = 'CIFAR-10 (class folders, 2,000 corrupted)'
shifts = [
    dict(
        name='corrupted',
        dataset=dict(
            type='CorruptedArrays', data_root='cifar10-folders-2k-cifar-c'
        ),
        make=True,
        settings='cifar-c',
        images=2000,
    ),
]
