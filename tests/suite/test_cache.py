"""The store of results, full disks, and locks on folders."""

import errno
import json
import os
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock
from helpers.tiny_suites import without_times

from mmanchor.suite.cache import ResultStore
from mmanchor.utils.locks import only_run

ARRAYS = dict(energy=np.arange(3.0))


@pytest.fixture
def store(tmp_path):
    return ResultStore(tmp_path / 'parts')


@pytest.fixture
def stored(store):
    store.save('one', dict(a=1), dict(top1=5.0), ARRAYS)
    return store


def test_saved_results_are_read_back(store):
    store.save('a model, K = 3', dict(b=1, a=(2, 3)), dict(x=[1.5]), ARRAYS)
    result, arrays = store.get('a model, K = 3', dict(a=[2, 3], b=1))
    assert result == dict(x=[1.5]) and list(arrays) == ['energy']
    assert np.array_equal(arrays['energy'], ARRAYS['energy'])
    assert store.get('a model, K = 3', dict(b=2, a=(2, 3))) is None
    assert store.get('another', dict(b=1, a=(2, 3))) is None


@pytest.mark.parametrize('name', ['A/B: c?', '…', 'x' * 400])
def test_any_name_can_be_a_file_name(store, name):
    store.save(name, {}, dict(y=None))
    assert store.get(name, {}) == (dict(y=None), {})
    assert [path.parent for path in store.folder.iterdir()] == [store.folder]


def test_results_of_changed_files_are_replaced_and_of_lost_files_kept(store):
    store.save('one', dict(stamp=[1]), dict(top1=5.0), dict(a=np.ones(1)))
    assert store.get('one', dict(stamp=[2])) is None
    assert store.get('one', dict(stamp=[]))[0] == dict(top1=5.0)
    store.save('one', dict(stamp=[2]), dict(top1=6.0))
    assert store.get('one', dict(stamp=[2])) == (dict(top1=6.0), {})
    assert store.get('one', dict(stamp=[1])) is None


@pytest.mark.parametrize('suffix', ['json', 'npz'])
@pytest.mark.parametrize(
    'content', [None, b'', b'\xff\x00', b'{', b'[]', b'null']
)
def test_damaged_results_count_as_missing(stored, suffix, content):
    (path,) = stored.folder.glob(f'*.{suffix}')
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    assert stored.get('one', dict(a=1)) is None
    stored.save('one', dict(a=1), dict(top1=6.0))
    assert stored.get('one', dict(a=1))[0] == dict(top1=6.0)


def test_a_flipped_bit_in_scores_is_seen(stored):
    (path,) = stored.folder.glob('*.npz')
    data = bytearray(path.read_bytes())
    data[data.index(ARRAYS['energy'].tobytes()) + 9] ^= 1
    path.write_bytes(data)
    assert stored.get('one', dict(a=1)) is None


def full(*args, **kwargs):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def full_after(function, count):
    """Make a function raise `disk full` after a number of calls."""
    calls = []

    def limited(*args, **kwargs):
        calls.append(args)
        if len(calls) > count:
            full()
        return function(*args, **kwargs)

    return limited


def files_in(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob('*'))


@pytest.mark.parametrize('function', ['os.replace', 'numpy.savez'])
def test_a_full_disk_leaves_no_part_of_a_result(store, monkeypatch, function):
    with monkeypatch.context() as patch:
        patch.setattr(function, full)
        expected = 'room for results in .*parts, but got: No space left on'
        with pytest.raises(OSError, match=expected):
            store.save('a', {}, dict(x=1), ARRAYS)
    assert store.get('a', {}) is None
    assert not store.folder.exists()
    store.save('a', {}, dict(x=1), ARRAYS)
    assert store.get('a', {})[0] == dict(x=1)


def test_a_result_is_complete_once_its_json_file_exists(store, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(os, 'replace', full_after(os.replace, 1))
        with pytest.raises(OSError, match='Make room, and run the same'):
            store.save('a', {}, dict(x=1), ARRAYS)
    assert [path.suffix for path in store.folder.iterdir()] == ['.npz']
    assert store.get('a', {}) is None


def test_a_folder_of_parts_that_can_not_be(tmp_path):
    (tmp_path / 'file').write_text('')
    expected = 'room for results .*file.*can be written to'
    with pytest.raises(OSError, match=expected):
        ResultStore(tmp_path / 'file' / 'parts').save('a', {}, {})


def test_a_full_disk_stops_a_run_that_goes_on_later(
    trained, measured, tmp_path, monkeypatch
):
    out = tmp_path / 'out'
    with monkeypatch.context() as patch:
        patch.setattr(os, 'replace', full_after(os.replace, 3))
        with pytest.raises(OSError, match='but got: No space left on devic'):
            measured(trained.standard)
    left = files_in(out)
    assert not [name for name in left if 'partial' in name]
    assert len([name for name in left if name.startswith('parts/')]) == 3
    for path in out.glob('parts/*.json'):
        json.loads(path.read_text())
    measured(trained.standard)
    measured(trained.standard, out='other')
    assert without_times(out) == without_times(tmp_path / 'other')


def test_a_report_that_finds_no_room(trained, measured, tmp_path, monkeypatch):
    measured(trained.standard)
    out = tmp_path / 'out'
    before = {path: path.read_bytes() for path in out.glob('re*')}
    write_text = Path.write_text

    def no_room(path, *args, **kwargs):
        function = full if path.name == 'report.md' else write_text
        return function(path, *args, **kwargs)

    monkeypatch.setattr(Path, 'write_text', no_room)
    expected = 'room for the report in .*out, but got: No space left.* Make'
    with pytest.raises(OSError, match=expected):
        measured(trained.standard, names='another')
    assert {path: path.read_bytes() for path in out.glob('re*')} == before
    assert len(before) == 4


def test_a_folder_below_a_file(trained, measured, tmp_path):
    (tmp_path / 'file').write_text('')
    expected = 'written to, but got .*file/out: Not a directory. Name another'
    with pytest.raises(ValueError, match=expected):
        measured(trained.standard, out='file/out')


def denied(*args, **kwargs):
    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def test_a_folder_to_read_only(trained, measured, tmp_path, monkeypatch):
    monkeypatch.setattr('mmanchor.suite.cache.Path.mkdir', denied)
    expected = 'written to, but got .*out: Permission denied. Name another wi'
    with pytest.raises(ValueError, match=expected):
        measured(trained.standard)
    assert not (tmp_path / 'out').exists()


def test_data_without_permission_to_read_is_a_failure(outcome, monkeypatch):
    monkeypatch.setattr('mmanchor.datasets.shifts.cifar.MappedImages', denied)
    found = outcome()
    (one,) = found.failed
    assert one['name'] == 'Arrays' and 'Permission denied' in one['reason']
    assert found.models[0]['ood']['Photographs']


def test_a_second_run_in_the_same_folder_is_refused(
    trained, measured, tmp_path
):
    out = tmp_path / 'out'
    out.mkdir()
    with FileLock(out / '.running', thread_local=False):
        note = out / '.running.holder'
        note.write_text('process 7 on a-machine')
        expected = 'no other run to write to .*out, but got one: process 7 on'
        with pytest.raises(ValueError, match=expected):
            measured(trained.standard)
        note.unlink()
        with pytest.raises(ValueError, match='of unknown origin. Wait for it'):
            measured(trained.standard)
    assert files_in(out) == ['.running']
    assert measured(trained.standard)['failed'] == []


def test_leftovers_of_a_killed_run_are_removed(tmp_path):
    for name in (
        '.partial-a',
        'parts/.partial-b',
        'figures/.partial-c',
        'mine/.partial-d',
        'parts/whole',
    ):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / 'file').write_text('')
    with only_run(tmp_path):
        assert files_in(tmp_path) == [
            '.running',
            '.running.holder',
            'figures',
            'mine',
            'mine/.partial-d',
            'mine/.partial-d/file',
            'parts',
            'parts/whole',
            'parts/whole/file',
        ]
