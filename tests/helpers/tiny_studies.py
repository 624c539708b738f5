"""A study of seconds: fixtures for conftest files."""

import contextlib
import io
import itertools
import json
import shutil
from pathlib import Path

import pytest
from helpers.tiny_suites import SUITE, write_arrays
from mmengine.config import Config

from mmanchor.studies.cells import all_cells
from mmanchor.studies.cli import run_study
from mmanchor.studies.spec import load_study

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


def flags_of(study, work_dir, data_root) -> list[str]:
    """Arguments of the command."""
    return [
        str(study),
        '--work-dir',
        str(work_dir),
        '--data-root',
        str(data_root),
        '--device',
        'cpu',
        '--workers',
        '1',
    ]


@pytest.fixture
def words(tmp_path, data):
    """Arguments of the command."""

    def make(study, *flags, work_dir='work'):
        return [
            *flags_of(study, tmp_path / work_dir, data),
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


class FinishedStudy:
    """The tiny study with an ensemble, which was run once.

    Attributes:
        work (Path): Its work dir, which tests only read.
        ensemble_models (int): The number of models after the ensemble alone
            was trained.
        first_printed (str): The output of the run that measured all cells.
        printed (str): The output of the latest run.
    """

    settings = [
        *STUDY['settings'],
        dict(name='both', method='standard', ensemble=2),
    ]

    def __init__(self, folder: Path):
        self.folder, self.work = folder, folder / 'work'
        self._count = itertools.count()
        write_arrays(folder / 'arrays')
        (folder / 'tiny.py').write_text(SUITE)
        self.ground = dump(
            folder / 'ground.py', dict(GROUND, suite=str(folder / 'tiny.py'))
        )
        assert self.run('--only', 'both', '--train-only') == 0
        self.ensemble_models = len(list(self.work.glob('trained/*/*_2.pth')))
        assert self.run() == 0
        self.first_printed = self.printed
        self.results = read(self.work / 'results.json')

    def file(self, **changes) -> str:
        """The study's file, with some values changed."""
        folder = self.folder / str(next(self._count))
        folder.mkdir()
        values = dict(STUDY, on=self.ground, settings=self.settings)
        return dump(folder / 'tiny_study.py', {**values, **changes})

    def cells(self, **changes) -> list:
        """Its cells."""
        return all_cells(load_study(self.file(**changes)))

    def run(self, *flags, work_dir=None, data_root=None, **changes) -> int:
        """Run the study in any work dir; its exit status."""
        words = flags_of(
            self.file(**changes),
            work_dir or self.work,
            data_root or self.folder,
        )
        output = io.StringIO()
        try:
            with contextlib.redirect_stdout(output):
                return run_study([*words, *map(str, flags)])
        finally:
            self.printed = output.getvalue()

    def copy(self, folder: Path, *names: str) -> Path:
        """A work dir with some of what the run left, such as ``'cells'``."""
        for name in names:
            shutil.copytree(self.work / name, folder / name)
        return folder


def quicken(patch) -> None:
    """Leave out what takes most of the time and changes no figure."""
    patch.setattr('mmanchor.studies.measure.TIMED_IMAGES', 40)


@pytest.fixture(autouse=True)
def quick_studies(monkeypatch):
    quicken(monkeypatch)


@pytest.fixture(scope='session')
def finished(tmp_path_factory):
    """A study that was run once, for tests that share its models."""
    with pytest.MonkeyPatch.context() as patch:
        quicken(patch)
        return FinishedStudy(tmp_path_factory.mktemp('finished'))
