"""Accuracy on corrupted images around the weights, in two random directions.

Filter-normalised as the paper has it (Li et al. 2018), and raw.
    python tools/study.py landscape --work-dir DIR
"""

title = 'Accuracy around the weights'
on = 'cifar100'
seeds = [0]
settings = [
    dict(name=method, method=method)
    for method in ('standard', 'anchored', 'masked')
]
test = dict(num_references=1)
landscape = dict(points=21, reach=1.0, images=2000)
variants = dict(digits=dict(landscape=dict(points=11, images=475)))
metrics = ['centre', 'around', 'around_raw']
plot = dict(kind='landscape')
caption = (
    'Of corrupted images. Around: mean over a grid from -1 to 1 in two '
    'directions, drawn alike for all models.'
)
