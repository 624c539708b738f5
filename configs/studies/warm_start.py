"""Training on from a standard checkpoint, against from scratch.

What starts from standard trains with a fifth of the config's learning rate;
the standard model trains on as well, for as many steps. A warm start has two
equal halves of the stem, [W, W]. "Perturbed" adds noise of 0.3 times their
size to the half that reads the reference.
    python tools/study.py warm_start --work-dir DIR
"""

_fifth = {'optim_wrapper.optimizer.lr': 0.02}
_perturbed = {
    **_fifth,
    'default_hooks.perturb': dict(
        type='PerturbReferenceWeightsHook', scale=0.3
    ),
}
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
    *[
        dict(
            name=f'{method}, from standard, perturbed',
            method=method,
            x='from standard, perturbed',
            start='standard',
            options=_perturbed,
        )
        for method in ('anchored', 'masked')
    ],
]
test = dict(num_references=1)
metrics = [
    'clean',
    'corrupted',
    'severity_5',
    'noise',
    'ece',
    'corrupted_ece',
    'auroc',
    'stem_distance',
]
plot = dict(metrics=['clean', 'corrupted', 'corrupted_ece'])
caption = (
    'From standard: as many epochs again, from the standard model of '
    'the same seed. One reference at test.'
)
