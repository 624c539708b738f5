"""References of training and of test, where there is a ``ReferenceSet``."""

import pytest
from helpers.reference_runs import (
    TEST_PIPELINE,
    after_test,
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
    runner = run(
        data_preprocessor=dict(references=dict(type='ReferenceSet', size=20)),
        **{'train_cfg.max_epochs': 1},
    )
    runner.train()
    images = runner.model.data_preprocessor.reference_set.images
    assert images.shape == (20, 3, 16, 16)
    known = training_images(50)
    assert same_images(images, known).sum(1).eq(1).all()


def test_reference_set_of_its_own_dataset_is_read_before_training(run):
    references = dict(
        type='ReferenceSet',
        size=2000,
        dataset=dict(type='Digits', pipeline=TEST_PIPELINE),
    )
    runner = run(data_preprocessor=dict(references=references))
    with pytest.raises(ValueError, match='Expected 2000 images'):
        runner.train()


@pytest.mark.parametrize(
    'dataset',
    [
        None,
        dict(type='Digits', split='test', pipeline=TEST_PIPELINE),
    ],
)
def test_references_of_test_are_of_the_set(run, dataset):
    runner = run(
        **few(4, dataset),
        **hook(num_references=3),
        **{'train_cfg.max_epochs': 1},
    )
    runner.train()
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
        ValueError, match='at most 4.*as the reference set of D.*got 5'
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
    run(
        **few(4), **hook(num_references=3), **{'train_cfg.max_epochs': 1}
    ).train()
    assert len(chosen) == 1
