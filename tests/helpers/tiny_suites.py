"""A suite of a second, with two models: fixtures for conftest files."""

import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
from helpers.runs import config_maker
from mmengine.runner import Runner
from mmpretrain.registry import DATASETS

from mmanchor.suite.cache import ResultStore
from mmanchor.suite.candidates import Candidate
from mmanchor.suite.cli import evaluate
from mmanchor.suite.images import ImageBatches
from mmanchor.suite.measure import measure
from mmanchor.suite.runner import run_suite
from mmanchor.suite.spec import Cell, Settings, load_suite

KINDS = ('fog', 'frost')
SUITE = """
_count = 40
title = 'Tiny'
clean = dict(
    name='Digits',
    dataset=dict(type='Digits', split='test', indices=_count))
shifts = [
    dict(
        name='Arrays',
        dataset=dict(type='CorruptedArrays', data_root='arrays'),
        kinds=['fog', 'frost'],
        severities=[1, 3])
]
ood = [
    dict(
        name='Photographs',
        dataset=dict(type='PhotoPatches', size=16, count=30))
]
"""


def write_arrays(folder, count=20, size=16, seed=0):
    """Noisy digits, in colours, at five severities."""
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(seed)
    digits = DATASETS.build(
        dict(
            type='Digits',
            split='test',
            indices=count,
            pipeline=[dict(type='Resize', scale=size)],
        )
    )
    images = np.stack([digits[i]['img'] for i in range(count)] * 5)
    for kind in KINDS:
        noise = rng.normal(0, 40, images.shape)
        np.save(
            folder / f'{kind}.npy',
            (images + noise).clip(0, 255).astype(np.uint8),
        )
    np.save(folder / 'labels.npy', np.tile(digits.get_gt_labels(), 5))
    return folder


@pytest.fixture(scope='session')
def trained(tmp_path_factory):
    """A standard and an anchored model, trained a little: config and file.

    The anchored one holds three references.
    """
    found = SimpleNamespace()
    for word, name, options in (
        ('standard', '', {}),
        ('anchored', 'anchored_', {'custom_hooks.0.num_references': 3}),
    ):
        folder = tmp_path_factory.mktemp(word)
        options = {
            'train_cfg.max_epochs': 4,
            'train_cfg.val_interval': 4,
            'param_scheduler.1.end': 4,
            'train_dataloader.dataset.indices': 400,
            'default_hooks.checkpoint.interval': 4,
            **options,
        }
        cfg = config_maker(folder)(name, **options)
        cfg.dump(folder / f'{word}.py')
        Runner.from_cfg(cfg).train()
        setattr(
            found,
            word,
            [str(folder / f'{word}.py'), str(folder / 'work/epoch_4.pth')],
        )
        setattr(found, f'{word}_cfg', cfg)
    return found


def candidate_of(trained, word):
    """One of the models of ``trained``, as suites take it."""
    cfg, checkpoint = (
        getattr(trained, f'{word}_cfg'),
        getattr(trained, word)[1],
    )
    return Candidate(word, cfg, checkpoint, 'config.py')


def measure_digits(trained, word, rows):
    """Measure a model directly on some of 200 clean images.

    Returns:
        tuple: The result, with logits, and the labels.
    """
    loaded = candidate_of(trained, word).load('cpu')
    cell = Cell('Digits', dict(type='Digits', split='test', indices=200))
    batches = ImageBatches(cell, loaded.pipeline)
    batches.select(rows)
    (result,) = measure(loaded, batches, 'cpu', keep_answers=True)
    return result, batches.labels


@pytest.fixture(autouse=True)
def undrawn(monkeypatch):
    """Leave figures out: they take most of the time."""
    monkeypatch.setattr(
        'mmanchor.suite.report.writer.draw_all', lambda results, folder: []
    )


@pytest.fixture
def copied(trained, tmp_path):
    """Copy a model's file, to change it."""

    def copy(word='standard'):
        config, checkpoint = getattr(trained, word)
        path = tmp_path / f'{word}.pth'
        shutil.copy(checkpoint, path)
        return config, path

    return copy


@pytest.fixture
def data(tmp_path):
    """The folder with the suite's one set on disk."""
    folder = tmp_path / 'data'
    folder.mkdir()
    write_arrays(folder / 'arrays')
    return folder


@pytest.fixture
def suite_file(tmp_path):
    """The suite's file, with lines of one's own after it."""

    def write(more='', text=SUITE):
        path = tmp_path / 'tiny.py'
        path.write_text(text + more)
        return path

    return write


@pytest.fixture
def command(tmp_path, suite_file, data):
    """Arguments of the command, to run it with."""

    def arguments(*models, more='', out='out', **flags):
        found = [str(part) for model in models for part in model]
        found += [
            '--suite',
            str(suite_file(more)),
            '--data-root',
            str(data),
            '--out',
            str(tmp_path / out),
            '--device',
            'cpu',
            '--workers',
            '2',
        ]
        for name, value in flags.items():
            values = value if isinstance(value, (list, tuple)) else [value]
            found += [
                '--' + name.replace('_', '-'),
                *(str(one) for one in values if one is not True),
            ]
        return found

    return arguments


@pytest.fixture
def measured(command):
    """Run the command."""

    def run(*models, **options) -> dict:
        return evaluate(command(*models, **options))

    return run


@pytest.fixture
def outcome(trained, suite_file, data, tmp_path):
    """Measure without a report."""

    def run(more='', words=('standard',), checkpoint=None, **settings):
        candidates = [
            Candidate(
                word,
                getattr(trained, f'{word}_cfg'),
                checkpoint or getattr(trained, word)[1],
                f'{word}.py',
            )
            for word in words
        ]
        settings.setdefault('scores', ('energy', 'msp'))
        return run_suite(
            load_suite(suite_file(more), data),
            candidates,
            ResultStore(tmp_path / 'parts'),
            Settings(**settings),
        )

    return run


def without_times(folder) -> str:
    """What ``results.json`` has, but for times, byte by byte."""
    text = (folder / 'results.json').read_text()
    times = json.dumps(dict(times=json.loads(text)['times']), indent=1)
    body = times[2:-2]
    assert text.count(body) == 1
    return text.replace(body, '')


def sets_of(outcome, i=0):
    """What was measured of a model: clean, shifts and sets of no class."""
    row = outcome.models[i]
    return [row['clean'] is not None, *row['shifts'], *row['ood']]
