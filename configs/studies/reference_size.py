"""How many training images references are drawn from (the paper's fig. 2).

Plain anchored training gains next to nothing from more; with masking it does.
    python tools/study.py reference_size --work-dir DIR
"""


def _settings(sizes):
    found = [
        dict(
            name='standard',
            method='standard',
            paper=dict(
                cifar10=dict(corrupted=75.64), cifar100=dict(corrupted=50.18)
            ),
        )
    ]
    for method, paper in _paper.items():
        for size in sizes:
            options = {
                'data_preprocessor.references': dict(
                    type='ReferenceSet', size=size
                ),
                # a set of 5 has no 10 to test with
                'custom_hooks.0.num_references': 1,
            }
            found.append(
                dict(
                    name=f'{method}, {size}',
                    method=method,
                    x=size,
                    options=options,
                    paper={
                        ground: dict(corrupted=values[size])
                        for ground, values in paper.items()
                        if size in values
                    },
                )
            )
    return found


def _of(*values):
    return dict(zip((5, 50, 500, 2500, 5000, 50000), values))


# read off its figure
_paper = dict(
    anchored=dict(
        cifar10=_of(76.35, 76.38, 76.43, 76.46, 76.53, 76.38),
        cifar100=_of(50.12, 50.53, 50.6, 50.95, 50.83, 50.70),
    ),
    masked=dict(
        cifar10=_of(73.9, 75.0, 77.1, 80.7, 81.2, 80.8),
        cifar100=_of(48.4, 48.4, 50.8, 52.3, 52.8, 53.49),
    ),
)
title = 'Size of the reference set'
on = 'cifar100'
seeds = [0, 1, 2]
settings = _settings([5, 50, 500, 2500, 5000, 50000])
_digits = dict(settings=_settings([5, 50, 500, 1297]))
variants = {'digits': _digits, 'digits-vit': _digits}
test = dict(num_references=1)
metrics = ['clean', 'corrupted', 'corrupted_ece', 'auroc']
plot = dict(kind='lines', xlabel='images in the reference set', log=True)
caption = (
    'References of training are drawn from so many images, and the '
    'one of test.'
)
