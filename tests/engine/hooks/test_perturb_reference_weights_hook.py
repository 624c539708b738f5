"""Noise on the weights that read the reference, at the start of training."""

from types import SimpleNamespace

import pytest
import torch
from mmengine.runner import Runner

from mmanchor.engine import PerturbReferenceWeightsHook
from mmanchor.models import AnchoredImageClassifier

HOOK = 'PerturbReferenceWeightsHook'


def before_training(cfg, **hook):
    """The stem's halves of a run, after the hook's turn."""
    cfg.custom_hooks.append(dict(type=HOOK, **hook))
    runner = Runner.from_cfg(cfg)
    conv = runner.model.backbone.conv1
    with torch.no_grad():  # as a plain checkpoint is loaded
        wr, wd = conv.weight.chunk(2, 1)
        wr.copy_(wd)
    return runner, conv


def test_noise_of_the_given_size_is_added_to_the_first_half_only(small_config):
    runner, conv = before_training(small_config(), scale=0.5)
    before = conv.weight.detach().clone()
    (hook,) = [h for h in runner.hooks if type(h).__name__ == HOOK]
    hook.before_train(runner)
    wr, wd = conv.weight.detach().chunk(2, 1)
    assert torch.equal(wd, before.chunk(2, 1)[1])
    size = ((wr - wd).square().mean() / wd.square().mean()).sqrt()
    assert size.item() == pytest.approx(0.5, rel=0.1)
    assert runner.model.stem_distance == pytest.approx(size.item(), rel=1e-4)


def test_the_noise_depends_on_the_seed_alone(small_config):
    halves = []
    for seed in (3, 3, 4):
        runner, conv = before_training(small_config(), seed=seed)
        (hook,) = [h for h in runner.hooks if type(h).__name__ == HOOK]
        hook.before_train(runner)
        wr, wd = conv.weight.detach().chunk(2, 1)
        halves.append((wr - wd) / wd.square().mean().sqrt())
    assert torch.allclose(halves[0], halves[1])
    assert not torch.allclose(halves[0], halves[2], atol=0.01)


def test_a_resumed_run_is_left_as_it_is(small_config):
    runner, conv = before_training(small_config())
    runner.train()
    (hook,) = [h for h in runner.hooks if type(h).__name__ == HOOK]
    trained = conv.weight.detach().clone()
    hook.before_train(runner)
    assert torch.equal(conv.weight, trained)


@pytest.mark.parametrize('scale', [0, -1, float('nan'), float('inf')])
def test_other_scales_are_refused(scale):
    with pytest.raises(
        ValueError, match=f'`scale` .* above 0, but got {scale}'
    ):
        PerturbReferenceWeightsHook(scale=scale)


def test_a_stem_without_halves_is_refused():
    model = AnchoredImageClassifier(
        backbone=torch.nn.Conv2d(6, 4, 3),
        stem=[],
        image_channels=3,
        head=dict(type='LinearClsHead', num_classes=2, in_channels=4),
    )
    runner = SimpleNamespace(model=model, iter=0)
    with pytest.raises(ValueError, match='built for 2C channels. Take the'):
        PerturbReferenceWeightsHook().before_train(runner)


def test_a_plain_model_is_refused(small_config):
    cfg = small_config('')
    cfg.custom_hooks = [dict(type=HOOK)]
    with pytest.raises(TypeError, match='AnchoredImageClassifier'):
        Runner.from_cfg(cfg).train()
