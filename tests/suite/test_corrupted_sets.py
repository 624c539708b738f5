"""Corrupted sets that a suite makes from its clean set."""

import errno
import json
import os
import re
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from filelock import FileLock
from mmpretrain.registry import DATASETS

from mmanchor.datasets.corruptions.corrupt import corrupt
from mmanchor.suite import corrupted_sets as making
from mmanchor.suite.corrupted_sets import (
    clean_mask,
    describe_corruptions,
    make_corrupted,
)
from mmanchor.suite.spec import load_suite
from mmanchor.utils.locks import only_run

KINDS = ('contrast', 'brightness')
MORE = """
shifts = [
    dict(
        name='Made',
        dataset=dict(type='CorruptedArrays', data_root='made'),
        steps=[dict(type='Resize', scale=16, interpolation='bicubic')],
        kinds=['contrast', 'brightness'],
        severities=[1, 5],
        make=True)
]
"""
FILES = [
    'brightness.npy',
    'clean_images.npy',
    'clean_labels.npy',
    'contrast.npy',
    'labels.npy',
    'made_by.json',
    'made_from.json',
]


@pytest.fixture
def make(suite_file, tmp_path):
    """Make the corrupted set of the suite."""

    def made(more='', root='data', **options):
        suite = load_suite(suite_file(MORE + more), tmp_path / root)
        options.setdefault('workers', 1)
        return make_corrupted(suite, suite.shifts[0], **options)

    return made


def contents(folder):
    return {
        path.name: path.read_bytes()
        for path in sorted(folder.iterdir())
        if path.name != '.running'
    }


def times(folder):
    return {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}


def digits():
    steps = [dict(type='Resize', scale=16, interpolation='bicubic')]
    dataset = DATASETS.build(
        dict(type='Digits', split='test', indices=40, pipeline=steps)
    )
    images = np.stack([dataset[i]['img'] for i in range(40)])
    return images, dataset.get_gt_labels()


@pytest.fixture
def folder(tmp_path):
    """The folder of the set."""
    return tmp_path / 'data' / 'made'


def test_clean_images_are_corrupted_once_with_the_same_bytes(
    make, folder, tmp_path
):
    assert make()
    assert sorted(contents(folder)) == FILES
    images, labels = digits()
    made = np.load(folder / 'contrast.npy')
    assert made.shape == (200, 16, 16, 3)
    for severity in (1, 5):
        for i in (0, 39):
            assert np.array_equal(
                made[(severity - 1) * 40 + i],
                corrupt(images[i], 'contrast', severity, 0, i),
            )
    assert np.array_equal(np.load(folder / 'labels.npy'), np.tile(labels, 5))
    assert np.array_equal(np.load(folder / 'clean_images.npy'), images)
    before = times(folder)
    make()
    assert times(folder) == before
    make(root='again', workers=2)
    assert contents(folder) == contents(tmp_path / 'again' / 'made')


def test_a_stopped_run_goes_on(make, folder, tmp_path):

    def stop(kind, done, total):
        assert total == 2 * 5 * 40
        if kind == 'brightness':
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make(report=stop)
    assert 'brightness.npy' not in contents(folder)
    kept = times(folder)['contrast.npy']
    (folder / '.partial-left').mkdir()
    make()
    assert times(folder)['contrast.npy'] == kept
    make(root='again')
    assert contents(folder) == contents(tmp_path / 'again' / 'made')


def test_more_kinds_are_made_later(make, folder):
    make("shifts[0]['kinds'] = ['contrast']")
    before = times(folder)
    make()
    assert sorted(contents(folder)) == FILES
    assert times(folder)['contrast.npy'] == before['contrast.npy']


@pytest.mark.parametrize(
    'more',
    [
        "clean['dataset']['indices'] = 30",
        "shifts[0]['steps'][0]['scale'] = 20",
    ],
)
def test_a_set_of_other_images_is_left_alone(make, outcome, folder, more):
    make()
    before = contents(folder)
    expected = 'made to hold corrupted images of Digits, but got those of oth'
    with pytest.raises(ValueError, match=expected):
        make(more)
    assert contents(folder) == before
    found = outcome(MORE + more)
    (one,) = found.failed
    assert (one['model'], one['name']) == (None, 'Made')
    assert found.models[0]['shifts'] == {}
    assert found.models[0]['ood']['Photographs']


def test_a_set_with_other_settings_is_refused_by_name(make, folder):
    make("shifts[0]['settings'] = 'cifar-c'")
    kept = contents(folder)
    with pytest.raises(
        ValueError,
        match='Made in .*/made to be .*settings imagenet-c, but got a set with '
        'cifar-c',
    ):
        make()
    assert contents(folder) == kept


def test_a_set_from_before_settings_has_those_of_imagenet_c(make, folder):
    make()
    path = folder / 'made_by.json'
    record = json.loads(path.read_text())
    del record['settings']
    path.write_text(json.dumps(record))
    before = times(path.parent)
    make("shifts[0]['settings'] = 'imagenet-c'")
    assert times(path.parent) == before
    with pytest.raises(ValueError, match='got a set with imagenet-c. Change'):
        make("shifts[0]['settings'] = 'cifar-c'")


def test_some_of_the_images_are_corrupted_with_the_settings(make, folder):
    more = "shifts[0].update(settings='cifar-c', images=23)"
    make(more)
    assert sorted(contents(folder)) == sorted([*FILES, 'clean_mask.npy'])
    images, labels = digits()
    mask = clean_mask(folder)
    assert mask.shape == (40,) and mask.sum() == 23
    taken = np.bincount(labels[mask], minlength=10)
    there = np.bincount(labels, minlength=10)
    # balanced: a class has fewer images only if it has no more of them
    assert (taken >= np.minimum(there, taken.max() - 1)).all()
    assert np.array_equal(np.load(folder / 'clean_images.npy'), images[mask])
    assert np.array_equal(
        np.load(folder / 'labels.npy'), np.tile(labels[mask], 5)
    )
    made = np.load(folder / 'brightness.npy')
    assert len(made) == 5 * 23
    for i in (0, 22):
        assert np.array_equal(
            made[4 * 23 + i],
            corrupt(images[mask][i], 'brightness', 5, 0, i, 'cifar-c'),
        )
    before = times(folder)
    make(more)
    assert times(folder) == before


def test_a_set_of_another_number_of_images_is_left_alone(make, folder):
    make("shifts[0]['images'] = 20")
    before = contents(folder)
    for more in ('', "shifts[0]['images'] = 21"):
        with pytest.raises(ValueError, match='others, or of other .*`images`'):
            make(more)
    assert contents(folder) == before
    with pytest.raises(ValueError, match='Made to be at most 40.*but got 41'):
        make("shifts[0]['images'] = 41", root='other')


def test_settings_of_made_and_published_sets_are_described(
    make, suite_file, data, tmp_path
):
    make("shifts[0].update(settings='cifar-c', images=20)")
    more = """
shifts = [
    dict(
        name=type,
        dataset=dict(type=type, data_root=root),
        kinds=kinds)
    for type, root, kinds in (
        ('CorruptedArrays', 'made', None), ('CIFAR10C', 'gone', None),
        ('ImageNetC', 'gone', None), ('CorruptedFolders', 'gone', None),
        ('CIFAR10CBar', 'gone', None), ('CIFAR10_1', 'gone', None))
]
"""
    suite = load_suite(suite_file(more), tmp_path / 'data')
    assert describe_corruptions(suite) == dict(
        CorruptedArrays=dict(settings='cifar-c', images=20),
        CIFAR10C=dict(settings='cifar-c', images=None),
        ImageNetC=dict(settings='imagenet-c', images=None),
        CorruptedFolders=dict(settings=None, images=None),
    )


def test_reports_name_the_settings_and_progress_is_shown(
    trained, measured, capsys, tmp_path
):
    more = MORE + "shifts[0].update(settings='cifar-c', images=20)"
    results = measured(trained.standard, more=more)
    assert results['corruptions'] == {
        'Made': dict(settings='cifar-c', images=20)
    }
    made = results['models'][0]['shifts']['Made']
    assert list(made['by_kind']) == list(KINDS)
    assert list(made['by_severity']) == ['1', '5']
    assert sum(made['reliability']['count']) == 4 * 20
    report = (tmp_path / 'out' / 'report.md').read_text()
    words = "2 kinds × 2 severities, CIFAR-C's settings, of 20 images."
    # in the tables of all sets, by severity and by kind
    assert report.count(words) == 3
    assert f'Made: {words}' in report
    record = (tmp_path / 'data' / 'made' / 'made_by.json').read_text()
    assert results['seeds']['corruptions'] == json.loads(record)['seed'] == 0
    shown = capsys.readouterr().out
    assert 'Tiny: all' in shown and '100 %' in shown


def test_the_same_images_by_another_name_are_the_same(make, folder):
    make()
    before = contents(folder)
    make("clean['name'] = 'Numbers'")
    after = contents(folder)
    assert before.pop('made_from.json') != after.pop('made_from.json')
    assert before == after


def test_a_set_from_elsewhere_is_used_unchanged(make, folder):
    folder.mkdir(parents=True)
    for name in ('labels', *KINDS):
        np.save(folder / f'{name}.npy', np.zeros(3))
    before = times(folder)
    assert make()
    assert times(folder) == before


def test_a_wrong_kind_of_image(make):
    more = (
        "shifts[0]['steps'].append(dict(type='Normalize', mean=[0.] * 3, "
        'std=[1.] * 3))'
    )
    with pytest.raises(ValueError, match='uint8 after `steps` of Made.*float'):
        make(more)


def test_an_unknown_kind(outcome):
    found = outcome(MORE + "shifts[0]['kinds'] = ['foggy']")
    (one,) = found.failed
    assert one['model'] is None and "got 'foggy'" in one['reason']


def test_no_clean_images_to_corrupt(outcome):
    more = "clean['dataset'] = dict(type='OODFolder', data_root='gone')"
    found = outcome(MORE + more)
    assert {one['name'] for one in found.missing} == {'Made', 'Digits'}
    assert found.models[0]['shifts'] == {}


def test_without_the_library(outcome, without_package):
    without_package('imagecorruptions')
    with pytest.raises(ImportError, match='mmanchor.corruptions'):
        outcome(MORE)


def test_a_full_disk(make, monkeypatch, folder):

    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(np, 'save', full)
        expected = 'room for corrupted images in .*made, but got: No space'
        with pytest.raises(OSError, match=expected):
            make()
    assert contents(folder) == {}
    make()
    assert sorted(contents(folder)) == FILES


def test_two_runs_do_not_make_the_same(outcome, folder):
    folder.mkdir(parents=True)
    with FileLock(folder / '.running', thread_local=False):
        found = outcome(MORE)
    (one,) = found.failed
    assert one['name'] == 'Made' and found.models[0]['shifts'] == {}
    expected = 'no other run .*made, .* Wait for it, or change `data_root'
    assert re.search(expected, one['reason'])


def test_a_run_that_waited_does_not_make_the_set_again(
    make, folder, monkeypatch
):
    make()
    monkeypatch.setattr(making, '_read', None)  # reading would raise
    record = folder / 'made_from.json'
    told = record.read_text()
    record.unlink()  # a set that is still being made has none
    before = times(folder)
    with ThreadPoolExecutor() as pool:
        with only_run(folder):
            waiting = pool.submit(make, wait=True)
            time.sleep(0.3)
            assert not waiting.done()
            record.write_text(told)
        assert waiting.result()
    before.pop('.running')
    assert before.items() <= times(folder).items()
