"""Protocols chosen on `KReferenceHook`."""

import pytest
import torch
from helpers.reference_runs import (
    NO_TRAINING_SET,
    after_test,
    after_training,
    bank,
    hook,
    training_images,
)

from mmanchor.datasets import draw_pairs
from mmanchor.engine import KReferenceHook

SMALL = dict(type='transduction', num_candidates=3, num_residuals=6)


def test_a_training_with_transduction_keeps_candidates_and_residuals(
    run, tmp_path
):
    runner = after_training(
        run, epochs=1, validate_every=1, **hook(protocol=SMALL)
    )
    assert runner.model.protocol.name == 'transduction'
    saved = torch.load(tmp_path / 'work/epoch_1.pth', weights_only=False)
    pairs = saved['state_dict']['reference_bank.residual_pairs']
    assert pairs.shape == (6, 2, 3, 16, 16) and pairs.dtype == torch.uint8
    known = training_images(50)
    where = (pairs[:, :, None] == known).flatten(3).all(3).long()
    assert where.sum(2).eq(1).all()  # images of the training set
    assert where.argmax(2).diff(dim=1).ne(0).all()  # two different ones
    assert torch.equal(bank(runner).in_use, training_images(3))
    runner, metrics = after_test(
        run,
        str(tmp_path / 'work/epoch_1.pth'),
        **hook(protocol=SMALL),
        **NO_TRAINING_SET,
    )
    assert torch.equal(bank(runner).residual_pairs, pairs)
    assert 0 <= metrics['accuracy/top1'] <= 100


def test_resuming_keeps_residuals(run, tmp_path):
    first = after_training(run, epochs=1, **hook(protocol=SMALL))
    other_seed = hook(protocol=SMALL, seed=9)
    again = after_training(run, epochs=2, resume=True, **other_seed)
    assert again.epoch == 2
    assert torch.equal(bank(first).residual_pairs, bank(again).residual_pairs)
    start = str(tmp_path / 'work/epoch_1.pth')
    other = after_training(run, epochs=1, load_from=start, **other_seed)
    pairs = bank(other).residual_pairs
    assert not torch.equal(bank(first).residual_pairs, pairs)


@pytest.mark.parametrize(
    'hooks,validate_every',
    [([], 9), ([dict(type='EMAHook')], 1)],
    ids=['plain', 'averaged'],
)
def test_a_run_resumed_with_transduction_saves_residuals(
    run, tmp_path, hooks, validate_every
):
    for epochs, own in (
        (1, hook(num_references=3)),
        (2, hook(protocol=SMALL)),
    ):
        run(
            resume=epochs == 2,
            custom_hooks=[*hooks, *own['custom_hooks']],
            epochs=epochs,
            validate_every=validate_every,
        ).train()
    saved = torch.load(tmp_path / 'work/epoch_2.pth', weights_only=False)
    found = [
        value
        for weights in (saved['state_dict'], saved.get('ema_state_dict', {}))
        for key, value in weights.items()
        if key.endswith('residual_pairs')
    ]
    assert [len(pairs) for pairs in found] == [6] * (1 + len(hooks))


def test_residuals_are_drawn_where_the_checkpoint_kept_none(run, checkpoint):
    runner, _ = after_test(run, checkpoint, **hook(protocol=SMALL))
    assert len(bank(runner).residual_pairs) == 6
    assert torch.equal(bank(runner).images, training_images(3))  # its own
    with pytest.raises(
        ValueError,
        match='`train_dataloader` in the config to draw .* or residuals '
        'from, but there is none.*another `protocol`',
    ):
        after_test(run, checkpoint, **hook(protocol=SMALL), **NO_TRAINING_SET)


def test_more_candidates_than_the_bank_holds_are_drawn_anew(run, checkpoint):
    more = dict(SMALL, num_candidates=7)
    runner, _ = after_test(run, checkpoint, **hook(protocol=more))
    assert torch.equal(bank(runner).in_use, training_images(7))
    with pytest.raises(ValueError, match='`num_references` to what the check'):
        after_test(run, checkpoint, **hook(protocol=more), **NO_TRAINING_SET)
    with pytest.raises(ValueError, match='at most 50 references.*got 51'):
        after_test(
            run, checkpoint, **hook(protocol=dict(SMALL, num_candidates=51))
        )


def test_adaptive_reports_the_mean_number_of_references(run, checkpoint):
    runner, metrics = after_test(
        run, checkpoint, **hook(num_references=3, protocol='adaptive')
    )
    assert 2 <= metrics['references/mean_used'] <= 3
    _, plain = after_test(run, checkpoint, **hook(num_references=3))
    assert 'references/mean_used' not in plain
    runner = run(
        load_from=checkpoint, **hook(num_references=3, protocol='adaptive')
    )
    assert 2 <= runner.val()['references/mean_used'] <= 3
    runner.val()
    assert [type(m).__name__ for m in runner.val_evaluator.metrics].count(
        'ReferencesUsed'
    ) == 1


def test_bad_arguments():
    with pytest.raises(ValueError, match="the protocol to be .*got 'best'"):
        KReferenceHook(protocol='best')
    with pytest.raises(ValueError, match='uncertainty to be .*got .spread'):
        KReferenceHook(uncertainty='spread')
    with pytest.raises(ValueError, match='a mean is one image, but got 50'):
        KReferenceHook(select='mean', protocol='transduction')
    assert KReferenceHook(10, 'mean', protocol='single').needed == 1
    with pytest.raises(
        ValueError,
        match="least 3 for the protocol 'adaptiv.*but got 2. Raise it",
    ):
        KReferenceHook(2, protocol='adaptive')
    assert KReferenceHook(3, protocol='adaptive').needed == 3


def test_pairs_need_two_images():
    with pytest.raises(ValueError, match='2 images to draw resid.*list has 1'):
        draw_pairs([0], 3, seed=0)
