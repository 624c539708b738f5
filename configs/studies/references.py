"""What references teach: where they come from, augmented or partly masked.

All settings but the first are masked as the paper has it and differ in their
references alone; intervals are of differences from those of the batch.
    python tools/study.py references --on cifar10-5k --work-dir DIR
"""


def _set(**arguments):
    references = dict(type='ReferenceSet', **arguments)
    return {'data_preprocessor.references': references}


def _augmented(size, every):
    """The transforms of the released code of Delta-UQ and AMP."""
    jitter = [
        dict(type='torchvision/ColorJitter', brightness=0.5),
        dict(
            type='torchvision/GaussianBlur',
            kernel_size=(3, 9),
            sigma=(0.1, 5.0),
        ),
    ]
    augments = [
        dict(
            type='torchvision/RandomResizedCrop', size=size, scale=(0.6, 1.0)
        ),
        dict(type='torchvision/RandomHorizontalFlip'),
        dict(type='RandomApply', transforms=jitter, prob=0.8),
        dict(type='torchvision/RandomGrayscale', p=0.2),
    ]
    return {
        'data_preprocessor.reference_augments': augments,
        'data_preprocessor.augment_every': every,
    }


def _settings(size):
    masked = {
        'batch': {},
        'set of 50': _set(size=50),
        'set of 500': _set(size=500),
        '50, per class': _set(size=50, select='per_class'),
        '50 of 2 classes': _set(size=50, num_classes=2),
        'augmented': _augmented(size, 1),
        'augmented every 4th': _augmented(size, 4),
        'partial masks, 1/4': {'data_preprocessor.mask_keep': 0.25},
        'partial masks, 1/2': {'data_preprocessor.mask_keep': 0.5},
    }
    return [
        dict(name='standard', method='standard'),
        *[
            dict(name=name, method='masked', options=options)
            for name, options in masked.items()
        ],
    ]


title = 'References that teach'
on = 'cifar10-5k'
grounds = ['cifar10-5k', 'digits']
seeds = [0, 1, 2, 3, 4]
settings = _settings(32)
variants = dict(digits=dict(settings=_settings(16)))
baseline = 'batch'
test = dict(num_references=1)
metrics = [
    'clean',
    'corrupted',
    'severity_5',
    'ece',
    'corrupted_ece',
    'corrupted_nll',
    'corrupted_aurc',
    'auroc',
    'stem_distance',
]
plot = dict(metrics=['clean', 'corrupted', 'corrupted_ece'])
caption = 'Masked, uniform target, by batch. One reference at test.'
