"""Where to anchor: the image, the features after each stage, or at the head.

Ten references at test. After the last stage, and at the head, a hidden layer
follows: with linear layers alone, references would only shift the logits. The
study trains a plain model with that layer as well.
    python tools/study.py depth --on digits --work-dir DIR
"""

_PLACES = ['image', 'layer1', 'layer2', 'layer3', 'layer4', 'head']


def _settings(width):
    """For a ResNet whose last stage has this many channels."""
    hidden = {
        'model.head.type': 'StackedLinearClsHead',
        'model.head.mid_channels': [width],
    }
    return [
        dict(name='standard', method='standard', x='plain'),
        dict(
            name='standard, hidden layer',
            method='standard',
            x='plain, hidden layer',
            options=hidden,
        ),
        *[
            dict(
                name=place,
                method='masked',
                x=place,
                options={
                    'model.anchor_at': place,
                    **(hidden if place in ('layer4', 'head') else {}),
                },
            )
            for place in _PLACES
        ],
    ]


title = 'Where to anchor'
on = 'cifar10-5k'
grounds = ['cifar10-5k', 'cifar10-folders', 'cifar10', 'cifar100', 'digits']
seeds = [0, 1, 2, 3, 4]
settings = _settings(128)
variants = {name: dict(settings=_settings(512)) for name in grounds[2:4]}
test = dict(num_references=10)
metrics = [
    'clean',
    'corrupted',
    'severity_5',
    'ece',
    'corrupted_ece',
    'corrupted_aurc',
    'auroc',
    'seconds',
    'training_seconds',
]
plot = dict(metrics=['clean', 'corrupted', 'corrupted_ece', 'auroc'])
caption = 'The mean over ten references at test.'
