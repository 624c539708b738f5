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
        name=name,
        group=group,
        dataset=dict(
            type='OpenOOD',
            data_root='openood',
            benchmark='imagenet',
            subset=subset,
        ),
    )
    for name, group, subset in (
        ('SSB-hard', 'near', 'ssb_hard'),
        ('NINCO', 'near', 'ninco'),
        ('iNaturalist', 'far', 'inaturalist'),
        ('Textures', 'far', 'textures'),
        ('OpenImage-O', 'far', 'openimage_o'),
    )
]
