"""References of training and of test if there is a ``ReferenceSet``."""

import pytest
from helpers.reference_runs import (
    NO_VALIDATION,
    TEST_PIPELINE,
    after_test,
    after_training,
    bank,
    hook,
    training_images,
)

from mmanchor.datasets import reference_set
from mmanchor.engine.reference_source import training_set


def few(size, dataset=None):
    references = dict(type='ReferenceSet', size=size, dataset=dataset)
    return dict(data_preprocessor=dict(references=references))


def same_images(images, others):
    """Which are which, (N, M)."""
    return (images[:, None] == others[None]).flatten(2).all(2)


def test_reference_set_is_the_training_set_through_the_test_pipeline(run):
    runner = after_training(run, epochs=1, **few(20))
    images = runner.model.data_preprocessor.reference_set.images
    assert images.shape == (20, 3, 16, 16)
    assert same_images(images, training_images(50)).sum(1).eq(1).all()


def test_reference_set_of_its_own_dataset_is_read_before_training(run):
    own = few(2000, dict(type='Digits', pipeline=TEST_PIPELINE))
    with pytest.raises(ValueError, match='Expected 2000 images'):
        run(**own).train()


@pytest.mark.parametrize(
    'dataset',
    [None, dict(type='Digits', split='test', pipeline=TEST_PIPELINE)],
)
def test_references_of_test_are_of_the_set(run, dataset):
    runner = after_training(
        run, epochs=1, **few(4, dataset), **hook(num_references=3)
    )
    found = same_images(
        bank(runner).images,
        runner.model.data_preprocessor.reference_set.images,
    )
    assert found.shape == (3, 4)
    assert found.sum(1).eq(1).all() and found.sum(0).le(1).all()


def test_a_test_that_draws_draws_from_the_set(run, checkpoint):
    runner, _ = after_test(
        run, checkpoint, **few(4), **hook(num_references=4, redraw=True)
    )
    chosen = runner.model.data_preprocessor.reference_set
    chosen.load(training_set(runner.cfg))
    assert same_images(bank(runner).in_use, chosen.images).sum(1).eq(1).all()


def test_more_references_than_the_set_has_are_refused_before_training(run):
    with pytest.raises(
        ValueError, match='at most 4.*the reference set of D.*got 5'
    ):
        run(**few(4), **hook(num_references=5)).train()


def test_images_of_the_set_are_chosen_once(run, monkeypatch):
    chosen = []
    look = reference_set.get_labels
    monkeypatch.setattr(
        reference_set,
        'get_labels',
        lambda dataset: chosen.append(1) or look(dataset),
    )
    run(epochs=1, **few(4), **hook(num_references=3)).train()
    assert len(chosen) == 1


SMALL = [dict(type='Resize', scale=12), dict(type='PackInputs')]


def test_different_sizes_in_training_and_test_get_advice_that_works(run):
    options = {
        'train_dataloader.dataset.pipeline': SMALL,
        'epochs': 1,
        'validate_every': 1,
    }
    with pytest.raises(
        ValueError,
        match=r'\(3, 12, 12\) of the training images, but got \(3, 16, 16\), '
        'as the test.*`dataset` whose `pipeline` ends.*a `source`',
    ):
        run(**few(4), **hook(), **options).train()
    runner = after_training(
        run,
        **few(4, dict(type='Digits', pipeline=SMALL)),
        **hook(source=dict(type='Digits')),
        **options,
    )
    references = runner.model.data_preprocessor.reference_set
    assert references.images.shape == (4, 3, 12, 12)
    assert bank(runner).images.shape == (1, 3, 16, 16)


def test_a_config_without_validation_gets_advice_that_works(run):
    advice = (
        'Add a `test_dataloader`, with `test_cfg` and `test_evaluator`. Or .*'
        r'`source=dict\(type=..., pipeline=\[.*of `KReferenceHook`, or '
        '`dataset` of a `ReferenceSet`'
    )
    options = {**NO_VALIDATION, 'epochs': 1}
    source = dict(type='Digits', pipeline=TEST_PIPELINE)
    for references in ({}, few(4)):
        with pytest.raises(ValueError, match=advice):
            run(**references, **hook(), **options).train()
    for given in (hook(source=source), {**few(4, source), **hook()}):
        runner = after_training(run, **given, **options)
        assert bank(runner).images.shape == (1, 3, 16, 16)
