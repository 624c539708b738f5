"""One coin a batch, as the paper has it, or one an image.

Rows that are masked one by one share BatchNorm's statistics with the others.
    python tools/study.py mask_by --work-dir DIR
"""

title = 'Masking batches or images'
on = 'cifar100'
seeds = [0, 1, 2]
settings = [
    dict(name='standard', method='standard'),
    dict(name='anchored', method='anchored'),
    *[
        dict(
            name=f'{by}, {target}',
            method='masked',
            series=f'masked, {target}',
            x=f'masked by {by}',
            options={
                'data_preprocessor.mask_by': by,
                'model.head.masked_target': target,
            },
        )
        for by in ('batch', 'sample')
        for target in ('uniform', 'label')
    ],
]
test = dict(num_references=1)
metrics = ['clean', 'corrupted', 'severity_5', 'ece', 'corrupted_ece', 'auroc']
plot = dict(metrics=['clean', 'corrupted', 'corrupted_ece'])
caption = 'What a coin decides on, and the target of what is masked.'
