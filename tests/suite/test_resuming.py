"""A suite resumes where it was stopped, and measures nothing twice."""

import json
import os
import signal
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.forked import ForkedTool
from helpers.tiny_suites import without_times, write_arrays

from mmanchor.suite import runner

TOOL = Path(__file__).parents[2] / 'tools' / 'evaluate.py'
ARRAYS = [
    f'Arrays, {kind}, severity {severity}'
    for kind in ('fog', 'frost')
    for severity in (1, 3)
]
EVERY = ['Digits', *ARRAYS, 'Photographs']


@pytest.fixture
def counted(monkeypatch):
    """Returns the names of the cells that were measured since the last call."""
    measured = []
    measure, batches_of = runner.measure, runner.ModelEvaluator.batches

    def batches(self, cell, *args, **kwargs):
        found = batches_of(self, cell, *args, **kwargs)
        found.name = str(cell)
        return found

    def counting(loaded, batches, *args, **kwargs):
        measured.append(batches.name)
        return measure(loaded, batches, *args, **kwargs)

    monkeypatch.setattr(runner.ModelEvaluator, 'batches', batches)
    monkeypatch.setattr(runner, 'measure', counting)

    def new():
        cells = measured.copy()
        measured.clear()
        return cells

    return new


def later(path):
    """Set the time of a file forward: file systems may have coarse clocks."""
    stat = path.stat()
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 10**9))


def test_a_second_run_measures_nothing_and_loads_no_model(
    trained, measured, counted, tmp_path, monkeypatch
):
    measured(trained.standard)
    assert counted() == EVERY
    # another model is all that is measured
    models = trained.standard, trained.anchored
    results = measured(*models, num_references=[1, 3])
    assert counted() == EVERY * 2 and len(results['models']) == 3
    first = without_times(tmp_path / 'out')
    monkeypatch.setattr('mmanchor.suite.candidates.load_classifier', None)
    measured(*models, num_references=[1, 3])
    assert counted() == []
    assert without_times(tmp_path / 'out') == first


def test_changed_data_is_measured_again(trained, measured, counted, data):

    def means():
        (model,) = measured(trained.standard)['models']
        return model['shifts']['Arrays']['mean']

    first = means()
    assert counted() == EVERY
    later(data / 'arrays' / 'frost.npy')
    assert means() == first
    assert counted() == ARRAYS[2:]
    images = np.load(data / 'arrays' / 'fog.npy')
    np.save(data / 'arrays' / 'fog.npy', 255 - images)
    later(data / 'arrays' / 'fog.npy')
    second = means()
    assert second != first
    assert counted() == ARRAYS[:2]
    np.save(data / 'arrays' / 'labels.npy', np.zeros(100, np.int16))
    assert means() != second
    assert counted() == ARRAYS


def test_changed_files_of_a_set_without_kinds_are_measured_again(
    trained, measured, counted, data, tmp_path
):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (9, 32, 32, 3), dtype=np.uint8)
    np.save(data / 'cifar10.1_v6_data.npy', images)
    np.save(data / 'cifar10.1_v6_labels.npy', np.arange(9))
    more = (
        "shifts.append(dict(name='New', dataset=dict("
        "type='CIFAR10_1', data_root='.')))"
    )
    measured(trained.standard, more=more)
    assert counted() == [*EVERY[:-1], 'New', 'Photographs']
    np.save(data / 'cifar10.1_v6_data.npy', 255 - images)
    later(data / 'cifar10.1_v6_data.npy')
    measured(trained.standard, more=more)
    assert counted() == ['New']


def test_other_settings_are_measured_again(trained, measured, counted):
    measured(trained.anchored)
    assert counted() == EVERY
    for flags, expected in (
        (dict(num_references=2), EVERY),
        (dict(protocol='single'), EVERY),
        (dict(batch_size=7), EVERY),
        (dict(amp=True), EVERY),
        (dict(scores=['msp', 'energy']), ['Digits', 'Photographs']),
        (dict(cfg_options='model.average=probabilities'), EVERY),
        (dict(workers=1, names='another'), []),
    ):
        measured(trained.anchored, **flags)
        assert counted() == expected, flags


def test_another_checkpoint_is_measured_again(
    trained, measured, counted, copied
):
    config, path = copied()
    measured([config, path])
    counted()
    saved = torch.load(path, weights_only=False)
    torch.save(saved, path.with_name('same.pth'))
    saved['state_dict']['head.fc.bias'] += 1
    torch.save(saved, path)
    measured([config, path])
    assert counted() == EVERY


def test_a_failure_is_tried_again(trained, measured, counted, data):
    (data / 'arrays' / 'frost.npy').write_bytes(b'cut')
    assert len(measured(trained.standard)['failed']) == 1
    assert counted() == ['Digits', *ARRAYS[:2], 'Photographs']
    write_arrays(data / 'arrays', seed=0)
    assert measured(trained.standard)['failed'] == []
    # the labels were written again as well, which concerns all kinds
    assert counted() == ARRAYS


def started(arguments, folder):
    """Start the command in its own process."""
    return ForkedTool(
        TOOL,
        *arguments,
        output=folder / 'printed',
        cwd=folder,
        env=dict(DAWDLE='0.1'),
    )  # slow enough to be stopped in between


def stop(process, parts, with_signal):
    """Send a signal as soon as one or two results are saved."""
    for _ in range(3000):
        if len(list(parts.glob('*.json'))) >= 2:
            break
        assert process.poll() is None, process.output.read_text()
        time.sleep(0.02)
    process.send_signal(with_signal)
    process.wait(300)
    return process.output.read_text()


DAWDLING = """
import os
import time

from mmcv.transforms import BaseTransform
from mmpretrain.registry import TRANSFORMS


@TRANSFORMS.register_module()
class Dawdle(BaseTransform):

    def transform(self, results):
        time.sleep(float(os.environ.get('DAWDLE', 0)))
        return results
"""


@pytest.mark.parametrize('with_signal', [signal.SIGKILL, signal.SIGINT])
def test_a_run_that_was_stopped_goes_on(
    trained, command, measured, counted, tmp_path, monkeypatch, with_signal
):
    (tmp_path / 'dawdling.py').write_text(DAWDLING)
    monkeypatch.syspath_prepend(str(tmp_path))
    more = (
        "custom_imports = dict(imports=['dawdling'])\n"
        "shifts[0]['steps'] = [dict(type='Dawdle')]"
    )
    arguments = command(trained.standard, more=more)
    monkeypatch.setattr(sys, 'argv', [str(TOOL), *arguments])
    parts = tmp_path / 'out' / 'parts'
    shown = stop(started(arguments, tmp_path), parts, with_signal)
    assert not (tmp_path / 'out' / 'results.json').exists()
    assert with_signal == signal.SIGKILL or shown.rstrip().endswith(
        'Stopped. Run the same command again and it goes on.'
    )
    kept = {
        path.name: path.stat().st_mtime_ns
        for path in parts.iterdir()
        if path.suffix == '.json'
    }
    for path in kept:
        json.loads((parts / path).read_text())
    assert 2 <= len(kept) < 6
    (parts / '.partial-left').mkdir()  # a killed run may leave such a folder

    measured(trained.standard, more=more)
    again = counted()
    assert len(again) == 6 - len(kept)
    assert again == EVERY[len(kept) :]
    assert not list((tmp_path / 'out').rglob('.partial-*'))
    for name, when in kept.items():
        assert (parts / name).stat().st_mtime_ns == when
    measured(trained.standard, more=more, out='other')
    assert counted() == EVERY
    one, other = (
        without_times(tmp_path / folder) for folder in ('out', 'other')
    )
    assert one == other
