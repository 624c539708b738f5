"""Anchoring beside augmentation: does it add to what they give?

PixMix needs its pictures in data/fractals_and_fvis (docs/recipes.md).
    python tools/study.py augmentation --work-dir DIR
"""

_methods = dict(
    standard='cifar100',
    anchored='anchored_cifar100',
    masked='anchored-masked_cifar100',
)
# at severity 5, computed from its figure
_paper = {
    'crop and flip': (33.98, 34.43, 38.06),
    'TrivialAugment': (47.42, 47.98, 51.22),
    'RandAugment': (49.74, 50.15, 53.70),
    'PixMix': (58.57, 58.38, 59.60),
}


def _file(name, method):
    word = '' if name == 'crop and flip' else '-' + name.lower()
    return f'cifar100/resnet18{word}_{_methods[method]}.py'


def _on_cifar100(name, method):
    value = _paper[name][list(_methods).index(method)]
    return dict(
        config=_file(name, method), paper=dict(cifar100=dict(severity_5=value))
    )


def _with_pipeline(first, policies):
    """Options by the name of an augmentation."""

    def options(name, method):
        policy = policies[name]
        if policy.startswith('torchvision'):
            steps = [
                dict(type='NumpyToPIL', to_rgb=True),
                dict(type=policy),
                dict(type='PILToNumpy', to_bgr=True),
            ]
        else:
            steps = (
                [dict(type=policy, mixing_set='data/fractals_and_fvis')]
                if policy
                else []
            )
        pipeline = [*first, *steps, dict(type='PackInputs')]
        return dict(options={'train_dataloader.dataset.pipeline': pipeline})

    return options


def _settings(make, names):
    return [
        dict(
            name=f'{method}, {name}',
            method=method,
            x=name,
            **make(name, method),
        )
        for method in _methods
        for name in names
    ]


_torchvision = {
    'crop and flip': '',
    'TrivialAugment': 'torchvision/TrivialAugmentWide',
    'RandAugment': 'torchvision/RandAugment',
}
_folders = dict(
    settings=_settings(
        _with_pipeline(
            [
                dict(type='LoadImageFromFile'),
                dict(type='RandomCrop', crop_size=32, padding=4),
                dict(type='RandomFlip', prob=0.5, direction='horizontal'),
            ],
            dict(_torchvision, PixMix='PixMix'),
        ),
        _paper,
    )
)
# digits are not flipped, and grey ones have no order of channels
_digits = dict(
    settings=_settings(
        _with_pipeline(
            [
                dict(type='Resize', scale=16, interpolation='bicubic'),
                dict(type='RandomCrop', crop_size=16, padding=2),
            ],
            dict(_torchvision, crop=''),
        ),
        ['crop', 'TrivialAugment', 'RandAugment'],
    )
)
title = 'Augmentation'
on = 'cifar100'
grounds = ['cifar100', 'digits', 'cifar10-folders', 'cifar10-folders-200e']
seeds = [0, 1, 2]
settings = _settings(_on_cifar100, _paper)
variants = {
    'digits': _digits,
    'cifar10-folders': _folders,
    'cifar10-folders-200e': _folders,
}
test = dict(num_references=1)
metrics = ['clean', 'corrupted', 'severity_5', 'corrupted_ece', 'auroc']
plot = dict(metrics=['clean', 'corrupted', 'severity_5'])
caption = 'One reference at test.'
