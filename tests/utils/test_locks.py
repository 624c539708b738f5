"""Locks that keep several processes out of one folder."""

import multiprocessing
import os
import signal
import threading
import time

import pytest
from filelock import FileLock
from helpers.waiting import until

from mmanchor.utils.locks import is_locked, lock, only_run

FORK = multiprocessing.get_context('fork')


def test_checking_a_lock_does_not_hold_it(tmp_path):
    looking = FileLock(tmp_path / 'lock', thread_local=False)
    looking.acquire()
    threading.Timer(0.3, looking.release).start()
    with lock(tmp_path / 'lock') as mine:
        assert mine


def test_checking_a_lock_creates_no_file(tmp_path):
    assert not is_locked(tmp_path / 'lock')
    assert not list(tmp_path.iterdir())


def test_a_lock_is_held_by_one_and_free_afterwards(tmp_path):
    with lock(tmp_path / 'lock') as mine:
        assert mine and is_locked(tmp_path / 'lock')
        with lock(tmp_path / 'lock') as another:
            assert not another
        assert is_locked(tmp_path / 'lock')
    assert not is_locked(tmp_path / 'lock')
    assert [path.name for path in tmp_path.iterdir()] == ['lock']


def test_a_lock_is_released_even_if_workers_survive(tmp_path):
    worker = FORK.Process(target=time.sleep, args=(60,), daemon=True)
    with lock(tmp_path / 'lock') as mine:
        assert mine
        worker.start()
    assert worker.is_alive()
    assert not is_locked(tmp_path / 'lock')
    worker.kill()


def test_a_fork_that_leaves_the_block_does_not_end_the_lock(tmp_path):
    with lock(tmp_path / 'lock') as mine:
        assert mine
        pid = os.fork()
        if pid == 0:
            try:
                raise SystemExit
            finally:
                os._exit(0)
        os.waitpid(pid, 0)
        assert is_locked(tmp_path / 'lock')


def hold_with_a_worker(folder):
    """Hold a run's lock, with a worker that outlives the process."""
    with only_run(folder):
        pid = os.fork()
        (folder / ('worker' if pid == 0 else 'run')).write_text('')
        time.sleep(60)


def test_a_killed_run_leaves_no_lock_even_if_its_workers_survive(tmp_path):
    run = FORK.Process(target=hold_with_a_worker, args=(tmp_path,))
    run.start()
    until(
        lambda: {'worker', 'run'} <= {one.name for one in tmp_path.iterdir()}
    )
    with pytest.raises(ValueError, match=f'got one: process {run.pid} on'):
        with only_run(tmp_path):
            pass
    (worker,) = (
        int(pid)
        for pid in open(f'/proc/{run.pid}/task/{run.pid}/children')
        .read()
        .split()
    )
    run.kill()
    run.join()
    with only_run(tmp_path):
        os.kill(worker, 0)  # it is there still
        os.kill(worker, signal.SIGKILL)
    assert not (tmp_path / '.running.holder').exists()
