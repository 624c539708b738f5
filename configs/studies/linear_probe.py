"""A new linear layer on a frozen backbone, with α = 0.4 where it masks.

The backbone saw CIFAR-100, the probe CIFAR-10: clean and corrupted accuracy.
On the digits, the backbone saw them mirrored.
    python tools/study.py linear_probe --work-dir DIR
"""


def _settings(starts):
    probe = {'model.backbone.frozen_stages': 4}
    masked = {**probe, 'data_preprocessor.mask_prob': 0.4}
    return [
        dict(
            name=method,
            method=method,
            options=masked if method == 'masked' else probe,
            start=dict(method=method, **starts[method]),
        )
        for method in ('standard', 'anchored', 'masked')
    ]


_mirrored = {
    'train_dataloader.dataset.pipeline': [
        dict(type='Resize', scale=16, interpolation='bicubic'),
        dict(type='RandomFlip', prob=1.0, direction='horizontal'),
        dict(type='RandomCrop', crop_size=16, padding=2),
        dict(type='PackInputs'),
    ]
}


def _of_cifar100(end):
    names = dict(standard='', anchored='anchored_', masked='anchored-masked_')
    return _settings(
        {
            method: dict(config=f'cifar100/resnet18_{word}cifar100{end}.py')
            for method, word in names.items()
        }
    )


title = 'Linear probes'
on = 'cifar10'
seeds = [0, 1, 2]
settings = _of_cifar100('')
variants = {
    'cifar10-folders-200e': dict(settings=_of_cifar100('-folders')),
    'digits': dict(
        settings=_settings(
            {
                method: dict(options=_mirrored)
                for method in ('standard', 'anchored', 'masked')
            }
        )
    ),
}
grounds = ['cifar10', *variants]
test = dict(num_references=1)
metrics = ['clean', 'corrupted', 'severity_5', 'ece', 'corrupted_ece']
plot = dict(metrics=['clean', 'corrupted', 'corrupted_ece'])
caption = 'A linear layer on a frozen backbone. One reference at test.'
