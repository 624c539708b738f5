"""OpenOOD's CIFAR-10 benchmark: sets near to CIFAR-10 and far from it.

It looks for CIFAR-10 as the suite `cifar10` does, and for lists and images
as OpenOOD publishes them in `data/openood`:
`benchmark_imglist` and `images_classic`.
    python tools/evaluate.py CONFIG CHECKPOINT --suite cifar10-openood
"""

_base_ = './cifar10.py'
title = 'CIFAR-10 (OpenOOD)'
shifts = []
_to_32 = {{_base_._to_32}}
ood = [
    dict(
        name='CIFAR-100',
        group='near',
        dataset=dict(
            type='OpenOOD',
            data_root='openood',
            benchmark='cifar10',
            subset='cifar100',
        ),
        steps=_to_32,
    ),
    dict(
        name='TinyImageNet',
        group='near',
        dataset=dict(
            type='OpenOOD',
            data_root='openood',
            benchmark='cifar10',
            subset='tin',
        ),
        steps=_to_32,
    ),
    dict(
        name='MNIST',
        group='far',
        dataset=dict(
            type='OpenOOD',
            data_root='openood',
            benchmark='cifar10',
            subset='mnist',
        ),
        steps=_to_32,
    ),
    dict(
        name='SVHN',
        group='far',
        dataset=dict(
            type='OpenOOD',
            data_root='openood',
            benchmark='cifar10',
            subset='svhn',
        ),
        steps=_to_32,
    ),
    dict(
        name='Textures',
        group='far',
        dataset=dict(
            type='OpenOOD',
            data_root='openood',
            benchmark='cifar10',
            subset='texture',
        ),
        steps=_to_32,
    ),
    dict(
        name='Places365',
        group='far',
        dataset=dict(
            type='OpenOOD',
            data_root='openood',
            benchmark='cifar10',
            subset='places365',
        ),
        steps=_to_32,
    ),
]
