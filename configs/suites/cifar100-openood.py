"""OpenOOD's CIFAR-100 benchmark: sets near to CIFAR-100 and far from it.

It looks for CIFAR-100 as the suite `cifar100` does, and for lists and images
as OpenOOD publishes them in `data/openood`:
`benchmark_imglist` and `images_classic`.
    python tools/evaluate.py CONFIG CHECKPOINT --suite cifar100-openood
"""

_base_ = './cifar100.py'
title = 'CIFAR-100 (OpenOOD)'
shifts = []
_to_32 = {{_base_._to_32}}
ood = [
    dict(
        name='CIFAR-10',
        group='near',
        dataset=dict(
            type='OpenOOD',
            data_root='openood',
            benchmark='cifar100',
            subset='cifar10',
        ),
        steps=_to_32,
    ),
    dict(
        name='TinyImageNet',
        group='near',
        dataset=dict(
            type='OpenOOD',
            data_root='openood',
            benchmark='cifar100',
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
            benchmark='cifar100',
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
            benchmark='cifar100',
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
            benchmark='cifar100',
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
            benchmark='cifar100',
            subset='places365',
        ),
        steps=_to_32,
    ),
]
