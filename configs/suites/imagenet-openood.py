"""OpenOOD's ImageNet-1K benchmark: sets near to ImageNet-1K and far from it.

It looks for ImageNet-1K as the suite `imagenet` does, and for lists and images
as OpenOOD publishes them in `data/openood`:
`benchmark_imglist`, `images_classic`
and `images_largescale`.
    python tools/evaluate.py CONFIG CHECKPOINT --suite imagenet-openood
"""

_base_ = './imagenet.py'
title = 'ImageNet-1K (OpenOOD)'
shifts = []
ood = [
    dict(
        name='SSB-hard',
        group='near',
        dataset=dict(
            type='OpenOOD',
            data_root='openood',
            benchmark='imagenet',
            subset='ssb_hard',
        ),
    ),
    dict(
        name='NINCO',
        group='near',
        dataset=dict(
            type='OpenOOD',
            data_root='openood',
            benchmark='imagenet',
            subset='ninco',
        ),
    ),
    dict(
        name='iNaturalist',
        group='far',
        dataset=dict(
            type='OpenOOD',
            data_root='openood',
            benchmark='imagenet',
            subset='inaturalist',
        ),
    ),
    dict(
        name='Textures',
        group='far',
        dataset=dict(
            type='OpenOOD',
            data_root='openood',
            benchmark='imagenet',
            subset='textures',
        ),
    ),
    dict(
        name='OpenImage-O',
        group='far',
        dataset=dict(
            type='OpenOOD',
            data_root='openood',
            benchmark='imagenet',
            subset='openimage_o',
        ),
    ),
]
