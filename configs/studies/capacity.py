"""Standard, anchored and masked ResNet-18 by width; 64 is the usual one.

Does a small network have room for what references say?
    python tools/study.py capacity --work-dir DIR
"""


def _settings(widths):
    return [
        dict(
            name=f'{method}, width {width}',
            method=method,
            x=width,
            options={
                'model.backbone.stem_channels': width,
                'model.backbone.base_channels': width,
                'model.head.in_channels': 8 * width,
            },
        )
        for method in ('standard', 'anchored', 'masked')
        for width in widths
    ]


title = 'Width of the network'
on = 'cifar100'
grounds = [  # of a ResNet
    'cifar10',
    'cifar100',
    'cifar10-folders',
    'cifar10-folders-200e',
    'cifar10-folders-w8',
    'digits',
]
seeds = [0, 1, 2]
settings = _settings([8, 16, 32, 64, 128])
variants = dict(digits=dict(settings=_settings([4, 8, 16])))
test = dict(num_references=1)
metrics = ['clean', 'corrupted', 'severity_5', 'corrupted_ece', 'auroc']
plot = dict(kind='lines', xlabel='width of the first stage', log=True)
caption = 'Width: channels of the first stage. One reference at test.'
