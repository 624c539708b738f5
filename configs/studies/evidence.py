"""Does anchoring pay? Beside its control, augmentations and an ensemble.

The rule by which settings are recommended is in docs/studies.md.
    python tools/study.py evidence --on cifar10-5k --work-dir DIR
"""
_labels = {'model.head.masked_target': 'label'}
# as the authors' training script has it, but for the ground's schedule
_released = {
    **_labels,
    'model.masked_norm_stats': 'update',
    'data_preprocessor.references': dict(type='ReferenceSet'),
    'data_preprocessor.mask_coin': 'rank',
}
_subtractive = {
    'model.type': 'SubtractiveMixImageClassifier',
    'data_preprocessor.type': 'SubtractiveMixDataPreprocessor',
    'data_preprocessor.mask_prob': 0.25,
}
_mixup = {
    'data_preprocessor.batch_augments':
    dict(augments=[dict(type='Mixup', alpha=1.)])
}


def _augmix(first):
    """Its paper's operations: none that a corrupted test set has."""
    steps = [
        dict(type='NumpyToPIL', to_rgb=True),
        dict(type='torchvision/AugMix', all_ops=False),
        dict(type='PILToNumpy', to_bgr=True),
        dict(type='PackInputs'),
    ]
    return {'train_dataloader.dataset.pipeline': [*first, *steps]}


def _settings(first):
    augmix = _augmix(first)
    masked = {
        'masked, uniform, by batch': {},
        'masked, uniform, by image': {
            'data_preprocessor.mask_by': 'sample'
        },
        'masked, labels': _labels,
        'released': _released,
    }
    plain = {
        'subtractive control': _subtractive,
        'Mixup': _mixup,
        'AugMix': augmix,
    }
    return [
        dict(name='standard', method='standard'),
        dict(name='anchored', method='anchored'),
        *[
            dict(name=name, method='masked', options=options)
            for name, options in masked.items()
        ],
        *[
            dict(name=name, method='standard', series=name, options=options)
            for name, options in plain.items()
        ],
        dict(
            name='AugMix + masked, labels',
            method='masked',
            series='AugMix + masked',
            options={
                **augmix,
                **_labels
            }),
        dict(
            name='AugMix + control',
            method='standard',
            series='AugMix + control',
            options={
                **augmix,
                **_subtractive
            }),
        # averages the standard models of three seeds and trains nothing
        dict(name='ensemble of 3', method='standard', ensemble=3),
    ]


title = 'Does it pay?'
on = 'cifar10-5k'
grounds = ['cifar10-5k', 'digits', 'cifar10-folders-30e']
seeds = [0, 1, 2, 3, 4]
settings = _settings([
    dict(type='LoadImageFromFile'),
    dict(type='RandomCrop', crop_size=32, padding=4),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
])
variants = dict(
    digits=dict(
        settings=_settings([
            dict(type='Resize', scale=16, interpolation='bicubic'),
            dict(type='RandomCrop', crop_size=16, padding=2),
        ])))
test = dict(num_references=1)
metrics = ['clean', 'corrupted', 'severity_5', 'ece', 'corrupted_ece', 'auroc']
plot = dict(metrics=['clean', 'corrupted', 'corrupted_ece'])
caption = 'One reference at test.'
