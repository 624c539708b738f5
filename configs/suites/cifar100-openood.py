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
        name=name,
        group=group,
        dataset=dict(
            type='OpenOOD',
            data_root='openood',
            benchmark='cifar100',
            subset=subset,
        ),
        steps=_to_32,
    )
    for name, group, subset in (
        ('CIFAR-10', 'near', 'cifar10'),
        ('TinyImageNet', 'near', 'tin'),
        ('MNIST', 'far', 'mnist'),
        ('SVHN', 'far', 'svhn'),
        ('Textures', 'far', 'texture'),
        ('Places365', 'far', 'places365'),
    )
]
