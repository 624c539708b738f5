"""The probability α of masking a batch; 0 is plain anchoring.

The paper takes 0.25 for CIFAR, and says that 1 generalises badly.
    python tools/study.py alpha --work-dir DIR
"""

_paper = {0.0: 50.70, 0.25: 53.49}


def _settings(alphas):
    standard = dict(
        name='standard',
        method='standard',
        paper=dict(cifar100=dict(corrupted=50.18)),
    )
    return [standard] + [
        dict(
            name=f'α = {alpha}',
            method='masked',
            series='anchored',
            x=alpha,
            options={'data_preprocessor.mask_prob': alpha},
            paper=dict(cifar100=dict(corrupted=_paper[alpha]))
            if alpha in _paper
            else {},
        )
        for alpha in alphas
    ]


title = 'Probability of masking'
on = 'cifar100'
seeds = [0, 1, 2]
settings = _settings((0.0, 0.1, 0.2, 0.25, 0.3, 0.4, 0.5, 0.75, 1.0))
variants = dict(digits=dict(settings=_settings((0.0, 0.25, 0.5, 0.75, 1.0))))
test = dict(num_references=1)
metrics = ['clean', 'corrupted', 'severity_5', 'corrupted_ece', 'auroc']
plot = dict(
    kind='lines',
    xlabel='probability of masking a batch, α',
    metrics=['clean', 'corrupted', 'corrupted_ece'],
)
caption = 'One reference at test.'
