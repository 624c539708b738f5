"""Pictures of training, read back from the loggers' files."""

from types import SimpleNamespace

import pytest
import torch
from mmengine.runner import Runner
from mmengine.visualization import MLflowVisBackend

from mmanchor.engine import BatchImageHook
from mmanchor.engine.batch_figure import spread_and_error


def test_tensorboard_has_the_pictures_and_training_is_the_same(
    small_config, tmp_path
):
    from tensorboard.backend.event_processing.event_accumulator import (
        EventAccumulator,
    )

    options = {
        'epochs': 3,
        'validate_every': 3,
        'randomness.seed': 3,
        'custom_hooks.0.num_references': 2,
    }
    plain = Runner.from_cfg(small_config(**options)).train()
    cfg = small_config(**options)
    cfg.work_dir = str(tmp_path / 'pictures')
    cfg.custom_hooks.append(dict(type='BatchImageHook', interval=2, images=3))
    cfg.visualizer = dict(
        type='UniversalVisualizer',
        vis_backends=[
            dict(type='TensorboardVisBackend'),
            dict(type='LocalVisBackend'),
        ],
    )
    weights = Runner.from_cfg(cfg).train().state_dict()
    for name, expected in plain.state_dict().items():
        assert torch.equal(weights[name], expected)
    (path,) = (tmp_path / 'pictures').rglob('events.out.tfevents*')
    events = EventAccumulator(str(path)).Reload()
    assert events.Tags()['images'] == ['train_batch', 'val_spread']
    pictures = events.Images('train_batch')
    assert [one.step for one in pictures] == [0, 2]
    assert pictures[0].encoded_image_string[:4] == b'\x89PNG'
    assert pictures[0].width > 300 and pictures[0].height > 300
    assert 'loss' in ' '.join(events.Tags()['scalars'])
    files = (tmp_path / 'pictures').rglob('vis_image/*.png')
    assert sorted(path.name for path in files) == [
        'train_batch_0.png',
        'train_batch_2.png',
        'val_spread_3.png',
    ]


class PickyMLflow:
    """Takes images as MLflow does: the ending of the name is the format."""

    def __init__(self):
        self.images = {}

    def log_image(self, image, name):
        if not name.endswith('.png'):
            raise ValueError(f'unknown file extension: {name}')
        assert name not in self.images  # it would be replaced
        self.images[name] = image


def validated(backend, spread, wrong, interval=1, epochs=(1,)):
    """Let a hook draw the validation of some epochs."""
    hook = BatchImageHook(interval)
    visualizer = SimpleNamespace(_vis_backends=dict(one=backend))
    for epoch in epochs:
        runner = SimpleNamespace(epoch=epoch, visualizer=visualizer)
        hook._spread, hook._wrong = list(spread), list(wrong)
        hook.after_val_epoch(runner)
        assert hook._spread == []


def test_mlflow_gets_a_name_with_an_ending_and_the_epoch(tmp_path):
    backend = MLflowVisBackend(str(tmp_path))
    backend._env_initialized, backend._mlflow = True, PickyMLflow()
    validated(backend, [0.1, 0.2], [True, False], epochs=(1, 2))
    images = backend._mlflow.images
    assert list(images) == ['val_spread_1.png', 'val_spread_2.png']
    assert images['val_spread_1.png'].shape[2] == 3


def test_validation_is_drawn_with_all_ranks_as_often_as_asked(monkeypatch):
    steps, counts = [], []
    backend = SimpleNamespace(add_image=lambda *one: steps.append(one[2]))
    module = 'mmanchor.engine.hooks.batch_image_hook.'
    other = [0.3] * 3, [True] * 3
    monkeypatch.setattr(
        module + 'all_gather_object', lambda mine: [mine, other]
    )
    monkeypatch.setattr(
        module + 'spread_and_error',
        lambda spread, wrong: (
            counts.append((len(spread), wrong.sum()))
            or spread_and_error(spread, wrong)
        ),
    )
    validated(backend, [0.1, 0.2], [False, True], 3, (2, 4, 5, 6, 8))
    assert steps == [2, 5, 8]
    assert counts == [(5, 4)] * 3


@pytest.mark.parametrize('name', ['interval', 'images'])
def test_numbers_below_one_are_refused(name):
    with pytest.raises(ValueError, match=f'`{name}` of BatchImageHook'):
        BatchImageHook(**{name: 0})
