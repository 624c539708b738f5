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
        name=name,
        group=group,
        dataset=dict(
            type='OpenOOD',
            data_root='openood',
            benchmark='cifar10',
            subset=subset,
        ),
        steps=_to_32,
    )
    for name, group, subset in (
        ('CIFAR-100', 'near', 'cifar100'),
        ('TinyImageNet', 'near', 'tin'),
        ('MNIST', 'far', 'mnist'),
        ('SVHN', 'far', 'svhn'),
        ('Textures', 'far', 'texture'),
        ('Places365', 'far', 'places365'),
    )
]
