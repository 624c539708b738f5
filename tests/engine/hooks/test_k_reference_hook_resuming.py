"""The bank and the random draws of a run that continues another."""

import pytest
import torch
from helpers.reference_runs import (
    after_test,
    after_training,
    bank,
    hook,
    training_images,
)
from mmengine.hooks import EMAHook

from mmanchor.models import AnchoredImageClassifier


def test_a_new_run_from_anchored_weights_draws_its_own(run, checkpoint):
    runner = after_training(
        run, load_from=checkpoint, epochs=1, **hook(num_references=3, seed=8)
    )
    assert torch.equal(bank(runner).images, training_images(3, seed=8))
    assert runner.model.data_preprocessor.iteration == 4  # not 8


@pytest.mark.parametrize(
    'k,redraw,seed',
    [(3, False, 0), (2, False, 0), (5, False, 8), (3, True, 8)],
)
def test_a_resumed_run_keeps_its_references_if_there_are_enough(
    run, checkpoint, k, redraw, seed
):
    runner = after_training(
        run,
        load_from=checkpoint,
        resume=True,
        epochs=2,
        validate_every=2,
        **hook(num_references=k, seed=8, redraw=redraw),
    )
    assert torch.equal(bank(runner).in_use, training_images(k, seed=seed))


def with_ema(k, update_buffers, **kwargs):
    return [
        dict(type='EMAHook', update_buffers=update_buffers),
        dict(type='KReferenceHook', num_references=k, **kwargs),
    ]


@pytest.mark.parametrize(
    'k,redraw,update_buffers',
    [(2, False, True), (5, False, False), (5, False, True), (3, True, True)],
)
def test_changing_k_beside_an_averaged_model(
    run, tmp_path, k, redraw, update_buffers
):
    run(epochs=1, custom_hooks=with_ema(3, update_buffers)).train()
    runner, _ = after_test(
        run,
        str(tmp_path / 'work/epoch_1.pth'),
        custom_hooks=with_ema(k, update_buffers, redraw=redraw, seed=6),
    )
    seed = 0 if k == 2 else 6
    assert torch.equal(bank(runner).in_use, training_images(k, seed=seed))


@pytest.mark.parametrize(
    'k,update_buffers', [(3, True), (5, False), (5, True)]
)
def test_averaged_model_has_the_bank_too(run, k, update_buffers):
    hooks = with_ema(k, update_buffers)
    run(epochs=1, custom_hooks=hooks).train()
    runner = after_training(
        run, resume=True, custom_hooks=hooks, epochs=2, validate_every=1
    )
    (ema,) = (h for h in runner.hooks if isinstance(h, EMAHook))
    averaged = ema.ema_model.module
    assert isinstance(averaged, AnchoredImageClassifier)
    assert torch.equal(averaged.reference_bank.images, training_images(k))


def test_draws_continue_at_the_iteration_of_the_run(run, checkpoint):
    saved = torch.load(checkpoint, weights_only=False)
    saved['state_dict']['data_preprocessor.iteration'] = torch.tensor(1)
    torch.save(saved, checkpoint)
    runner = after_training(
        run,
        load_from=checkpoint,
        resume=True,
        epochs=2,
        **hook(num_references=3),
    )
    assert runner.model.data_preprocessor.iteration == runner.iter == 8


@pytest.mark.parametrize('seed,expected', [(None, 0), (5, 5)])
def test_seed_of_the_run_is_that_of_the_draws(run, seed, expected):
    runner = after_training(run, epochs=1, data_preprocessor=dict(seed=seed))
    assert runner.seed == 0
    assert runner.model.data_preprocessor.seed == expected
