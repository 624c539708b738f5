"""Who works on what, where several processes share a folder."""

import fcntl
import os
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class NoLocks(ValueError):
    """A file system has no locks."""


_held = set()  # files of locks that this process holds


def _close_in_child() -> None:
    for file in _held:
        file.close()
    _held.clear()


# a lock goes when the last that has its file open does: processes that load
# data live on for seconds after theirs is killed
os.register_at_fork(after_in_child=_close_in_child)


@contextmanager
def lock(
    path: Path,
    wait: bool = False,
    another: str = 'name another with --work-dir',
) -> Iterator[bool]:
    """Hold a lock, which goes with the process, also if it is killed.

    Args:
        path (Path): A file, made if it isn't there.
        wait (bool): Whether to wait for another process. Defaults to False.
        another (str): What to do if the folder can't be this one.

    Yields:
        bool: Whether it is held; False where another process has it.

    Raises:
        ValueError: The folder can't be written to, or has no locks.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = open(path, 'a+', encoding='utf-8')
    except OSError as error:
        raise ValueError(
            f'Expected a folder that can be written to, but got {path.parent}:'
            f' {error.strerror}. {another[0].upper()}{another[1:]}.'
        ) from error
    with file:
        try:
            mine = _taken(file, wait)
        except OSError as error:
            raise NoLocks(
                'Expected a file system with locks (flock), but got '
                f'{path.parent}: {error.strerror}. Mount it with `flock`, or '
                f'{another}.'
            ) from error
        if not mine:
            yield False
            return
        file.truncate(0)
        file.write(f'process {os.getpid()} on {socket.gethostname()}')
        file.flush()
        _held.add(file)
        try:
            yield True
        finally:
            _held.discard(file)
            if not file.closed:  # as it is in a fork that leaves this way
                fcntl.flock(file, fcntl.LOCK_UN)


def _taken(file, wait: bool) -> bool:
    for _ in range(20):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            return True
        except BlockingIOError:
            time.sleep(0.05)  # it may only be looked at, by `is_locked`
    return False


def is_locked(path: Path) -> bool:
    """Whether a process holds a lock now."""
    if not path.exists():
        return False
    with open(path, encoding='utf-8') as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


@contextmanager
def only_run(
    folder: Path, another: str = 'name another with --out', wait: bool = False
) -> Iterator[None]:
    """Keep other runs out of a folder.

    What a run that was killed left half-written there goes.

    Args:
        folder (Path): Made if it isn't there.
        another (str): What to do if it can't be this one.
        wait (bool): Whether to wait for another run. Defaults to False.

    Raises:
        ValueError: There is one already, or see :func:`lock`.
    """
    path = Path(folder) / '.running'
    with lock(path, wait, another) as mine:
        if not mine:
            origin = path.read_text(encoding='utf-8') or 'of unknown origin'
            raise ValueError(
                f'Expected no other run to write to {folder}, but got one: '
                f'{origin}. Wait for it, or {another}.'
            )
        for place in ('.', 'parts', 'figures'):
            for partial in (path.parent / place).glob('.partial-*'):
                shutil.rmtree(partial)
        yield
