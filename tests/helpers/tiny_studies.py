"""A study of seconds: fixtures for conftest files."""

import json

import pytest
from mmengine.config import Config

from mmanchor.studies.cli import run_study

SMALL = {
    'model.backbone.stem_channels': 8,
    'model.backbone.base_channels': 8,
    'model.head.in_channels': 64,
    'train_dataloader.batch_size': 16,
    'train_dataloader.dataset.indices': 50,
    'test_dataloader.dataset.indices': 40,
    'train_cfg.max_epochs': 2,
    'param_scheduler.1.end': 4,
    'default_hooks.checkpoint.interval': 1,
}
GROUND = dict(
    title='tiny digits',
    configs=dict(
        standard='digits/resnet18-w16_digits.py',
        anchored='digits/resnet18-w16_anchored_digits.py',
        masked='digits/resnet18-w16_anchored-masked_digits.py',
    ),
    options=SMALL,
    shifted='Arrays',
    # models of seconds are no better than chance: no temperature fits them
    settings=dict(batch_size=40, scores=['energy'], temperature=False),
)
STUDY = dict(
    title='Tiny study',
    seeds=[0, 1],
    settings=[
        dict(name='standard', method='standard'),
        dict(name='masked', method='masked'),
        dict(
            name='masked, K = 2', method='masked', test={'num_references': 2}
        ),
    ],
    test=dict(num_references=1),
    metrics=['clean', 'corrupted', 'ece', 'auroc'],
)


def dump(path, values) -> str:
    """A config file of some values."""
    path.write_text(
        '\n'.join(f'{key} = {value!r}' for key, value in values.items())
    )
    assert Config.fromfile(path)
    return str(path)


def read(path) -> dict:
    """What is in a JSON file."""
    return json.loads(path.read_text())


@pytest.fixture
def ground_file(tmp_path, suite_file):
    """Write a ground with the tiny suite."""

    def write(name='tiny_ground', **changes):
        values = {**GROUND, 'suite': str(suite_file()), **changes}
        return dump(tmp_path / f'{name}.py', values)

    return write


@pytest.fixture
def study_file(tmp_path, ground_file):
    """Write a study on that ground."""

    def write(name='tiny_study', **changes):
        values = {**STUDY, 'on': ground_file(), **changes}
        return dump(tmp_path / f'{name}.py', values)

    return write


@pytest.fixture
def words(tmp_path, data):
    """Arguments of the command."""

    def make(study, *flags, work_dir='work'):
        return [
            study,
            '--work-dir',
            str(tmp_path / work_dir),
            '--data-root',
            str(data),
            '--device',
            'cpu',
            '--workers',
            '1',
            *map(str, flags),
        ]

    return make


@pytest.fixture
def study(study_file, words):
    """Run a study; its exit status."""

    def run(*flags, work_dir='work', on=None, **changes) -> int:
        return run_study(
            words(study_file(**changes), *flags, work_dir=work_dir)
        )

    return run
