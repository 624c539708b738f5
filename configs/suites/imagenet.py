"""ImageNet-1K and what is published to test robustness on it.

`python tools/evaluate.py CONFIG CHECKPOINT --suite imagenet --data-root data`
looks for the folders below in `data`; what is not there is left out.
"""

title = 'ImageNet-1K'
clean = dict(
    name='ImageNet',
    dataset=dict(type='ImageNet', data_root='imagenet', split='val'),
)
shifts = [
    dict(
        name='ImageNet-C',
        dataset=dict(type='ImageNetC', data_root='imagenet-c'),
    ),
    dict(
        name='ImageNet-C̄',
        dataset=dict(type='ImageNetCBar', data_root='imagenet-c-bar'),
    ),
    dict(
        name='ImageNet-R',
        dataset=dict(type='ImageNetR', data_root='imagenet-r'),
    ),
    dict(
        name='ImageNet-A',
        dataset=dict(type='ImageNetA', data_root='imagenet-a'),
    ),
    dict(
        name='ImageNet-Sketch',
        dataset=dict(type='ImageNetSketch', data_root='sketch'),
    ),
    dict(
        name='ImageNetV2',
        dataset=dict(
            type='ImageNetV2',
            data_root='imagenetv2-matched-frequency-format-val',
        ),
    ),
]
ood = [
    dict(
        name='NINCO',
        dataset=dict(type='OODFolder', data_root='NINCO/NINCO_OOD_classes'),
    ),
    dict(name='iSUN', dataset=dict(type='OODFolder', data_root='iSUN')),
    dict(
        name='Textures', dataset=dict(type='OODFolder', data_root='dtd/images')
    ),
    dict(
        name='Places365', dataset=dict(type='OODFolder', data_root='places365')
    ),
    dict(
        name='ImageNet-O',
        dataset=dict(type='ImageNetO', data_root='imagenet-o'),
    ),
]
