"""What a masked batch answers to, and whether it moves BatchNorm.

The paper's target is the uniform distribution, its code's the true label; it
says nothing of running statistics. On CIFAR-10 in class folders, 18 runs:
    python tools/study.py masking --on cifar10-folders --work-dir DIR
"""

title = 'Masked batches: target and running statistics'
on = 'cifar10-folders'
seeds = [0, 1, 2]
settings = [
    dict(name='standard', method='standard'),
    dict(name='anchored', method='anchored'),
    *[
        dict(
            name=f'masked: {target}, {stats}',
            method='masked',
            options={
                'model.head.masked_target': target,
                'model.masked_norm_stats': stats,
            },
        )
        for target in ('uniform', 'label')
        for stats in ('skip', 'update')
    ],
]
test = dict(num_references=1)
metrics = [
    'clean',
    'corrupted',
    'severity_5',
    'ece',
    'corrupted_ece',
    'corrupted_smooth_ece',
    'auroc',
]
plot = dict(metrics=['clean', 'corrupted', 'corrupted_ece'])
caption = 'masked: target, running statistics. One reference.'
