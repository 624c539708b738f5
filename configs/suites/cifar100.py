"""CIFAR-100 and what is published to test robustness on it.

`python tools/evaluate.py CONFIG CHECKPOINT --suite cifar100 --data-root data`
looks for the folders below in `data`; what is not there is left out.
"""

_base_ = './cifar10.py'
title = 'CIFAR-100'
clean = dict(
    _delete_=True,
    name='CIFAR-100',
    dataset=dict(
        type='CIFAR100', data_root='cifar100', split='test', download=False
    ),
)
shifts = [
    dict(
        name='CIFAR-100-C',
        dataset=dict(type='CIFAR100C', data_root='CIFAR-100-C'),
    ),
    dict(
        name='CIFAR-100-C̄',
        dataset=dict(type='CIFAR100CBar', data_root='CIFAR-100-C-Bar'),
    ),
]
