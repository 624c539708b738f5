"""Training on from a standard checkpoint, against from scratch.

The learning rate of what starts warm is a fifth of the config's; standard
training is gone on with as well, for as many steps.
    python tools/study.py warm_start --work-dir DIR
"""

_fifth = {'optim_wrapper.optimizer.lr': 0.02}
title = 'Warm start'
on = 'cifar100'
seeds = [0, 1, 2]
settings = [
    *[
        dict(name=method, method=method, x='from scratch')
        for method in ('standard', 'anchored', 'masked')
    ],
    *[
        dict(
            name=f'{method}, from standard',
            method=method,
            x='from standard',
            start='standard',
            options=_fifth,
        )
        for method in ('standard', 'anchored', 'masked')
    ],
]
test = dict(num_references=1)
metrics = ['clean', 'corrupted', 'severity_5', 'ece', 'corrupted_ece', 'auroc']
plot = dict(metrics=['clean', 'corrupted', 'corrupted_ece'])
caption = (
    'From standard: as many epochs again, from the standard model of '
    'the same seed. One reference at test.'
)
