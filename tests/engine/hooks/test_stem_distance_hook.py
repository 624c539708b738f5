"""The distance of the stem's halves along training."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmengine.runner import Runner

from mmanchor.engine import PerturbReferenceWeightsHook, StemDistanceHook
from mmanchor.engine.hooks.stem_distance_hook import TAG
from mmanchor.models import AnchoredImageClassifier

TYPE = 'StemDistanceHook'


def with_hook(cfg):
    cfg.custom_hooks.append(dict(type=TYPE))
    return cfg


def test_the_stem_distance_is_logged_at_the_start_and_once_an_epoch(
    small_config, tmp_path
):
    runner = Runner.from_cfg(with_hook(small_config(epochs=2)))
    runner.train()
    history, steps = runner.message_hub.get_scalar(TAG).data
    assert len(history) == 3  # 2 epochs
    assert 1 < history[0] < 1.8  # of independent halves
    assert history[-1] != history[0]
    saved = torch.load(tmp_path / 'work/epoch_2.pth', weights_only=False)
    wr, wd = saved['state_dict']['backbone.conv1.weight'].chunk(2, 1)
    assert history[-1] == pytest.approx(
        ((wr - wd).norm() / wd.norm()).item(), rel=1e-5
    )
    # loggers have it, that of the last epoch included
    (path,) = Path(runner.log_dir).glob('vis_data/scalars.json')
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    logged = [line['stem_distance'] for line in lines if 'loss' in line]
    assert logged[-1] == pytest.approx(history[-1], abs=1e-4)


def test_iterations_are_counted_in_epochs_too(small_config):
    cfg = with_hook(
        small_config(**{'default_hooks.checkpoint.by_epoch': False})
    )
    cfg.train_cfg = dict(by_epoch=False, max_iters=9, val_interval=9)
    runner = Runner.from_cfg(cfg)
    runner.train()  # 4 iterations an epoch
    assert len(runner.message_hub.get_scalar(TAG).data[0]) == 1 + 2


@pytest.mark.parametrize('kind', [TYPE, 'PerturbReferenceWeightsHook'])
def test_a_plain_model_has_no_halves(small_config, kind):
    cfg = small_config('')
    cfg.custom_hooks = [dict(type=kind)]
    with pytest.raises(TypeError, match='AnchoredImageClassifier'):
        Runner.from_cfg(cfg).train()


def test_a_backbone_built_for_2c_channels_has_no_stem_distance():
    model = AnchoredImageClassifier(
        backbone=torch.nn.Conv2d(6, 4, 3),
        stem=[],
        image_channels=3,
        head=dict(type='LinearClsHead', num_classes=2, in_channels=4),
    )
    assert model.stem_distance is None
    for hook in (StemDistanceHook(), PerturbReferenceWeightsHook()):
        with pytest.raises(
            ValueError, match='built for 2C channels. Take the'
        ):
            hook.before_train(SimpleNamespace(model=model, iter=0))
