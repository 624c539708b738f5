"""Training with a share of labels wrong, tested with right ones.

python tools/study.py label_noise --work-dir DIR
"""

_rates = (0, 0.5, 1, 2, 5, 10, 15, 20)  # %
# computed from its figure
_paper = dict(
    standard=(50.18, 49.70, 49.51, 48.61, 46.40, 43.02, 40.73, 38.06),
    anchored=(50.70, 50.43, 49.45, 49.00, 46.47, 44.03, 40.62, 38.55),
    masked=(53.49, 53.59, 52.97, 52.07, 50.08, 47.03, 44.20, 41.84),
)


def _settings(rates):
    return [
        dict(
            name=f'{method}, {rate} %',
            method=method,
            x=rate,
            wrap_dataset=dict(type='SymmetricLabelNoise', rate=rate / 100),
            paper=dict(cifar100=dict(corrupted=value)),
        )
        for method, values in _paper.items()
        for rate, value in zip(_rates, values)
        if rate in rates
    ]


title = 'Label noise'
on = 'cifar100'
seeds = [0, 1, 2]
settings = _settings(_rates)
variants = dict(digits=dict(settings=_settings((0, 5, 20))))
test = dict(num_references=1)
metrics = ['clean', 'corrupted', 'severity_5', 'ece', 'corrupted_ece']
plot = dict(
    kind='lines',
    xlabel='training labels that are wrong (%)',
    metrics=['clean', 'corrupted', 'corrupted_ece'],
)
caption = 'Wrong labels are drawn from the other classes, alike for all seeds.'
