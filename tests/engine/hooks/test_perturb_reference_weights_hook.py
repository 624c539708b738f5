"""Noise on the weights that read the reference, at the start of training."""

import pytest
import torch
from mmengine.runner import Runner

from mmanchor.engine import PerturbReferenceWeightsHook

HOOK = 'PerturbReferenceWeightsHook'


def before_training(cfg, **hook):
    """A runner, the hook and the stem, as after a plain checkpoint."""
    cfg.custom_hooks.append(dict(type=HOOK, **hook))
    runner = Runner.from_cfg(cfg)
    stem = runner.model.backbone.conv1
    wr, wd = stem.weight.data.chunk(2, 1)
    wr.copy_(wd)
    (hook,) = [h for h in runner.hooks if type(h).__name__ == HOOK]
    return runner, hook, stem


def test_noise_of_the_given_size_is_added_to_the_first_half_only(small_config):
    runner, hook, stem = before_training(small_config(), scale=0.5)
    before = stem.weight.detach().clone()
    hook.before_train(runner)
    wr, wd = stem.weight.detach().chunk(2, 1)
    assert torch.equal(wd, before.chunk(2, 1)[1])
    size = ((wr - wd).square().mean() / wd.square().mean()).sqrt()
    assert size.item() == pytest.approx(0.5, rel=0.1)
    assert runner.model.stem_distance == pytest.approx(size.item(), rel=1e-4)


def test_the_noise_depends_on_the_seed_alone(small_config):
    halves = []
    for seed in (3, 3, 4):
        runner, hook, stem = before_training(small_config(), seed=seed)
        hook.before_train(runner)
        wr, wd = stem.weight.detach().chunk(2, 1)
        halves.append((wr - wd) / wd.square().mean().sqrt())
    assert torch.allclose(halves[0], halves[1])
    assert not torch.allclose(halves[0], halves[2], atol=0.01)


def test_a_resumed_run_is_left_as_it_is(small_config):
    runner, hook, stem = before_training(small_config(epochs=1))
    runner.train()
    trained = stem.weight.detach().clone()
    hook.before_train(runner)
    assert torch.equal(stem.weight, trained)


@pytest.mark.parametrize('scale', [0, -1, float('nan'), float('inf')])
def test_other_scales_are_refused(scale):
    with pytest.raises(
        ValueError, match=f'`scale` .* above 0, but got {scale}'
    ):
        PerturbReferenceWeightsHook(scale=scale)
