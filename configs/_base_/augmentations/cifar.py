"""Training pipelines for MMPretrain's CIFAR datasets, whose images are RGB."""

crop_flip = [
    dict(type='RandomCrop', crop_size=32, padding=4),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(type='PackInputs'),
]
# torchvision's, with its defaults
trivial_augment = [
    dict(type='RandomCrop', crop_size=32, padding=4),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(type='NumpyToPIL', to_rgb=False),
    dict(type='torchvision/TrivialAugmentWide'),
    dict(type='PILToNumpy', to_bgr=False),
    dict(type='PackInputs'),
]
rand_augment = [
    dict(type='RandomCrop', crop_size=32, padding=4),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(type='NumpyToPIL', to_rgb=False),
    dict(type='torchvision/RandAugment'),
    dict(type='PILToNumpy', to_bgr=False),
    dict(type='PackInputs'),
]
# without the operations that test sets are corrupted by, as its paper has it
augmix = [
    dict(type='RandomCrop', crop_size=32, padding=4),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(type='NumpyToPIL', to_rgb=False),
    dict(type='torchvision/AugMix', all_ops=False),
    dict(type='PILToNumpy', to_bgr=False),
    dict(type='PackInputs'),
]
# needs PixMix's pictures: see docs/recipes.md
pixmix = [
    dict(type='RandomCrop', crop_size=32, padding=4),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(
        type='PixMix', mixing_set='data/fractals_and_fvis', channel_order='rgb'
    ),
    dict(type='PackInputs'),
]
