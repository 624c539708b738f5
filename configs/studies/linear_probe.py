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
            start=dict(method=method, **starts[method]))
        for method in ('standard', 'anchored', 'masked')
    ]


_mirrored = {
    'train_dataloader.dataset.pipeline': [
        dict(type='Resize', scale=16, interpolation='bicubic'),
        dict(type='RandomFlip', prob=1., direction='horizontal'),
        dict(type='RandomCrop', crop_size=16, padding=2),
        dict(type='PackInputs'),
    ]
}
title = 'Linear probes'
on = 'cifar10'
seeds = [0, 1, 2]
settings = _settings(
    dict(
        standard=dict(config='cifar100/resnet18_cifar100.py'),
        anchored=dict(config='cifar100/resnet18_anchored_cifar100.py'),
        masked=dict(config='cifar100/resnet18_anchored-masked_cifar100.py')))
variants = dict(
    digits=dict(
        settings=_settings(
            dict.fromkeys(('standard', 'anchored',
                           'masked'), dict(options=_mirrored)))))
test = dict(num_references=1)
metrics = ['clean', 'corrupted', 'severity_5', 'ece', 'corrupted_ece']
plot = dict(metrics=['clean', 'corrupted', 'corrupted_ece'])
caption = 'A linear layer on a frozen backbone. One reference at test.'
