"""Pictures of training, read back from the loggers' files."""

import pytest
import torch
from mmengine.runner import Runner

from mmanchor.engine import BatchImageHook


def trained(cfg):
    runner = Runner.from_cfg(cfg)
    runner.train()
    return runner


def test_tensorboard_has_the_pictures_and_training_is_the_same(
    small_config, tmp_path
):
    from tensorboard.backend.event_processing.event_accumulator import (
        EventAccumulator,
    )

    options = {
        'randomness.seed': 3,
        'train_cfg.max_epochs': 3,
        'train_cfg.val_interval': 3,
        'custom_hooks.0.num_references': 2,
    }
    plain = trained(small_config(**options))
    cfg = small_config(**options)
    cfg.work_dir = str(tmp_path / 'pictures')
    cfg.custom_hooks.append(dict(type='BatchImageHook', interval=2, images=3))
    cfg.visualizer = dict(
        type='UniversalVisualizer',
        vis_backends=[dict(type='TensorboardVisBackend')],
    )
    runner = trained(cfg)
    for one, other in zip(
        runner.model.state_dict().values(), plain.model.state_dict().values()
    ):
        assert torch.equal(one, other)
    (path,) = (tmp_path / 'pictures').rglob('events.out.tfevents*')
    events = EventAccumulator(str(path)).Reload()
    assert events.Tags()['images'] == ['train/batch', 'val/spread']
    pictures = events.Images('train/batch')
    assert [one.step for one in pictures] == [0, 2]
    assert pictures[0].encoded_image_string[:4] == b'\x89PNG'
    assert pictures[0].width > 300 and pictures[0].height > 300
    assert 'loss' in ' '.join(events.Tags()['scalars'])


@pytest.mark.parametrize('name', ['interval', 'images'])
def test_numbers_below_one_are_refused(name):
    with pytest.raises(ValueError, match=f'`{name}` of BatchImageHook'):
        BatchImageHook(**{name: 0})
