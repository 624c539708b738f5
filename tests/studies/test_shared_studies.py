"""Several processes with one work dir."""

import errno
import fcntl
import threading

import pytest
from helpers.tiny_studies import STUDY, read
from helpers.waiting import until

from mmanchor.studies.cells import all_cells
from mmanchor.studies.spec import load_study
from mmanchor.utils.locks import lock


def test_two_processes_do_not_do_the_same_cell(study, tmp_path, capsys):
    settings = dict(settings=STUDY['settings'][:2], seeds=[0])
    with lock(tmp_path / 'work/locks/standard_seed0') as mine:
        assert mine
        assert study('--list', **settings) == 0
        assert 'standard, seed 0: running' in capsys.readouterr().out
        assert study(**settings) == 0
        assert (
            'standard, seed 0: another process with the same'
            in capsys.readouterr().out
        )
    names = [path.name for path in (tmp_path / 'work/cells').iterdir()]
    assert names == ['masked_seed0.json']
    assert study('--list', **settings) == 0
    listed = capsys.readouterr().out
    assert 'standard, seed 0: to do' in listed
    assert 'masked, seed 0: done' in listed


def test_a_file_system_without_locks_is_named(study, tmp_path, monkeypatch):

    def flock(*_):
        raise OSError(errno.ENOSYS, 'Function not implemented')

    monkeypatch.setattr(fcntl, 'flock', flock)
    with pytest.raises(ValueError, match='locks .flock.*Function not impl'):
        study()


def test_a_model_that_another_process_trains_is_left_for_last(
    study, study_file, tmp_path
):
    grid = dict(settings=STUDY['settings'][:2], seeds=[0])
    first, _ = all_cells(load_study(study_file(**grid)))
    path = tmp_path / f'work/locks/training-{first.training.key}'
    cells = tmp_path / 'work/cells'
    is_held = threading.Event()

    def hold():  # until the other is done
        with lock(path) as mine:
            assert mine
            is_held.set()
            until(
                lambda: (
                    (cells / 'masked_seed0.json').exists()
                    and read(cells / 'masked_seed0.json')['state'] == 'done'
                )
            )

    thread = threading.Thread(target=hold)
    thread.start()
    assert is_held.wait(10)
    assert study(**grid) == 0
    thread.join()
    times = [
        (cells / f'{name}_seed0.json').stat().st_mtime_ns
        for name in ('masked', 'standard')
    ]
    assert times == sorted(times)
    assert read(cells / 'standard_seed0.json')['state'] == 'done'
