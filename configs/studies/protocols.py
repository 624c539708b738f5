"""How references are used at test, and what it costs (the paper's table).

Each model is trained once and measured with all protocols.
    python tools/study.py protocols --work-dir DIR
"""

_protocols = {
    '1 reference': dict(num_references=1),
    'mean image': dict(num_references=1, select='mean'),
    'K = 10': dict(num_references=10),
    'best of 50 (BLT)': dict(
        protocol=dict(type='transduction', num_candidates=50)
    ),
}
# as it prints them
_paper = dict(
    anchored=dict(zip(_protocols, (50.70, 50.70, 50.70, 50.69))),
    masked=dict(zip(_protocols, (53.49, 53.49, 53.55, 53.41))),
)
title = 'Protocols of inference'
on = 'cifar100'
seeds = [0, 1, 2]
settings = [
    dict(name='standard', method='standard'),
    *[
        dict(
            name=f'{method}, {name}',
            method=method,
            x=name,
            test=test,
            paper=dict(cifar100=dict(corrupted=_paper[method][name])),
        )
        for method in _paper
        for name, test in _protocols.items()
    ],
]
metrics = ['clean', 'corrupted', 'corrupted_ece', 'auroc', 'seconds']
plot = dict(metrics=['clean', 'corrupted', 'seconds'])
caption = (
    'Seconds: for 1000 clean images, without reading them, on the '
    'machine that measured. BLT: the best of 50 for each image.'
)
