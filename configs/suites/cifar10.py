"""CIFAR-10 and what is published to test robustness on it.

`python tools/evaluate.py CONFIG CHECKPOINT --suite cifar10 --data-root data`
looks for the folders below in `data`; what is not there is left out.
"""

title = 'CIFAR-10'
clean = dict(
    name='CIFAR-10',
    dataset=dict(
        type='CIFAR10', data_root='cifar10', split='test', download=False
    ),
)
shifts = [
    dict(
        name='CIFAR-10-C',
        dataset=dict(type='CIFAR10C', data_root='CIFAR-10-C'),
    ),
    dict(
        name='CIFAR-10-C̄',
        dataset=dict(type='CIFAR10CBar', data_root='CIFAR-10-C-Bar'),
    ),
    dict(
        name='CIFAR-10.1',
        dataset=dict(type='CIFAR10_1', data_root='CIFAR-10.1'),
    ),
]
# images of any size become 32x32
_to_32 = [
    dict(
        type='ResizeEdge',
        scale=32,
        edge='short',
        interpolation='bilinear',
        backend='pillow',
    ),
    dict(type='CenterCrop', crop_size=32),
]
ood = [
    dict(
        name='Textures',
        dataset=dict(type='OODFolder', data_root='dtd/images'),
        steps=_to_32,
    ),
    dict(
        name='Places365',
        dataset=dict(type='OODFolder', data_root='places365'),
        steps=_to_32,
    ),
    dict(
        name='iSUN',
        dataset=dict(type='OODFolder', data_root='iSUN'),
        steps=_to_32,
    ),
]
