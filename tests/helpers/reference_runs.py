"""What tests of runs with `KReferenceHook` say and look at."""

from mmpretrain.registry import DATASETS

from mmanchor.datasets import draw_images

TEST_PIPELINE = [
    dict(type='Resize', scale=16, interpolation='bicubic'),
    dict(type='PackInputs'),
]

NO_TRAINING_SET = dict.fromkeys(
    ('train_dataloader', 'train_cfg', 'optim_wrapper', 'param_scheduler')
)
NO_VALIDATION = dict.fromkeys(
    f'{name}_{part}'
    for name in ('val', 'test')
    for part in ('dataloader', 'cfg', 'evaluator')
)


def training_images(k, select='random', seed=0, indices=50):
    dataset = DATASETS.build(
        dict(type='Digits', pipeline=TEST_PIPELINE, indices=indices)
    )
    return draw_images(dataset, k, select, seed)


def hook(**kwargs):
    return dict(custom_hooks=[dict(type='KReferenceHook', **kwargs)])


def bank(runner):
    return runner.model.reference_bank


def after_training(run, **options):
    runner = run(**options)
    runner.train()
    return runner


def after_test(run, checkpoint, **options):
    runner = run(load_from=checkpoint, **options)
    return runner, runner.test()
