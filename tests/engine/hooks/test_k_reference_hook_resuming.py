"""The bank and the random draws of a run that continues another."""

import pytest
import torch
from helpers.reference_runs import after_test, bank, hook, training_images
from mmengine.hooks import EMAHook

from mmanchor.models import AnchoredImageClassifier


def test_a_new_run_from_anchored_weights_draws_its_own(run, checkpoint):
    runner = run(
        load_from=checkpoint,
        **{'train_cfg.max_epochs': 1},
        **hook(num_references=3, seed=8),
    )
    runner.train()
    assert torch.equal(bank(runner).images, training_images(3, seed=8))
    assert runner.model.data_preprocessor.iteration == 4  # not 8


@pytest.mark.parametrize('k,seed', [(3, 0), (2, 0), (5, 8)])
def test_a_resumed_run_keeps_its_references_if_there_are_enough(
    run, checkpoint, k, seed
):
    runner = run(
        load_from=checkpoint,
        resume=True,
        **{'train_cfg.max_epochs': 2, 'train_cfg.val_interval': 2},
        **hook(num_references=k, seed=8),
    )
    runner.train()
    assert torch.equal(bank(runner).in_use, training_images(k, seed=seed))


def with_ema(k, update_buffers, **kwargs):
    return [
        dict(type='EMAHook', update_buffers=update_buffers),
        dict(type='KReferenceHook', num_references=k, **kwargs),
    ]


@pytest.mark.parametrize('update_buffers', [False, True])
@pytest.mark.parametrize('k,redraw', [(2, False), (5, False), (3, True)])
def test_changing_k_beside_an_averaged_model(
    run, tmp_path, k, redraw, update_buffers
):
    run(
        **{'train_cfg.max_epochs': 1}, custom_hooks=with_ema(3, update_buffers)
    ).train()
    runner, _ = after_test(
        run,
        str(tmp_path / 'work/epoch_1.pth'),
        custom_hooks=with_ema(k, update_buffers, redraw=redraw, seed=6),
    )
    seed = 0 if k == 2 else 6
    assert torch.equal(bank(runner).in_use, training_images(k, seed=seed))


@pytest.mark.parametrize('update_buffers', [False, True])
@pytest.mark.parametrize('k', [3, 5])
def test_averaged_model_has_the_bank_too(run, k, update_buffers):
    hooks = with_ema(k, update_buffers)
    first = run(**{'train_cfg.max_epochs': 1}, custom_hooks=hooks)
    first.train()
    runner = run(
        resume=True,
        custom_hooks=hooks,
        **{'train_cfg.max_epochs': 2, 'train_cfg.val_interval': 1},
    )
    runner.train()
    (ema,) = (h for h in runner.hooks if isinstance(h, EMAHook))
    averaged = ema.ema_model.module
    assert isinstance(averaged, AnchoredImageClassifier)
    assert torch.equal(averaged.reference_bank.images, training_images(k))


def test_redraw_before_a_resumed_training(run, checkpoint):
    runner = run(
        load_from=checkpoint,
        resume=True,
        **{'train_cfg.max_epochs': 2},
        **hook(num_references=3, seed=8, redraw=True),
    )
    runner.train()
    assert torch.equal(bank(runner).images, training_images(3, seed=8))


def test_draws_continue_at_the_iteration_of_the_run(run, checkpoint):
    saved = torch.load(checkpoint, weights_only=False)
    saved['state_dict']['data_preprocessor.iteration'] = torch.tensor(1)
    torch.save(saved, checkpoint)
    runner = run(
        load_from=checkpoint,
        resume=True,
        **{'train_cfg.max_epochs': 2},
        **hook(num_references=3),
    )
    runner.train()
    assert runner.model.data_preprocessor.iteration == runner.iter == 8


def test_seed_of_the_run_is_that_of_the_draws(run):
    options = {'train_cfg.max_epochs': 1}
    runner = run(**options)
    runner.train()
    assert runner.model.data_preprocessor.seed == runner.seed == 0
    runner = run(data_preprocessor=dict(seed=5), **options)
    runner.train()
    assert runner.model.data_preprocessor.seed == 5
