"""Locks that keep several processes out of one folder."""

import errno
import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import BaseFileLock, FileLock, Timeout

# what a file system without locks answers: no flock, no lock server, no
# support for it
_NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP)


class NoLocks(ValueError):
    """A file system has no locks."""


@contextmanager
def lock(
    path: Path,
    wait: bool = False,
    another: str = 'name another with --work-dir',
) -> Iterator[bool]:
    """Hold a lock, which ends with the process, also if that is killed.

    Args:
        path (Path): A file, made if it isn't there. Who holds the lock is
            written to another beside it, which :func:`holder` reads: a locked
            file can't be read on Windows.
        wait (bool): Whether to wait for another process. Defaults to False.
        another (str): What to do if the folder can't be this one.

    Yields:
        bool: Whether it is held; False where another process has it.

    Raises:
        ValueError: The folder can't be written to, or has no locks.
    """
    found = _file_lock(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # `is_locked` holds it for a moment: a second attempt is needed
        found.acquire(timeout=-1 if wait else 1)
    except (Timeout, RuntimeError):  # the latter: held by this thread
        yield False
        return
    except OSError as error:
        if error.errno in _NO_LOCKS:
            raise NoLocks(
                'Expected a file system with locks (flock), but got '
                f'{path.parent}: {error.strerror}. Mount it with `flock`, or '
                f'{another}.'
            ) from error
        raise ValueError(
            f'Expected a folder that can be written to, but got {path.parent}:'
            f' {error.strerror}. {another[0].upper()}{another[1:]}.'
        ) from error
    note = _note(path)
    try:
        note.write_text(
            f'process {os.getpid()} on {socket.gethostname()}',
            encoding='utf-8',
        )
        yield True
    finally:
        if found.is_locked:  # as it is not in a fork that leaves this way
            note.unlink(missing_ok=True)
            found.release()


def holder(path: Path) -> str:
    """Who holds a lock, as far as it is known."""
    try:
        return _note(path).read_text(encoding='utf-8') or 'of unknown origin'
    except FileNotFoundError:
        return 'of unknown origin'


def is_locked(path: Path) -> bool:
    """Whether a process holds a lock now."""
    if not path.exists():
        return False
    try:
        with _file_lock(path).acquire(blocking=False):
            return False
    except (Timeout, RuntimeError):
        return True


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
            raise ValueError(
                f'Expected no other run to write to {folder}, but got one: '
                f'{holder(path)}. Wait for it, or {another}.'
            )
        for place in ('.', 'parts', 'figures'):
            for partial in (path.parent / place).glob('.partial-*'):
                shutil.rmtree(partial)
        yield


def _note(path: Path) -> Path:
    return path.with_name(f'{path.name}.holder')


def _file_lock(path: Path) -> BaseFileLock:
    # a soft lock, which is a file that is there or not, would stay behind when
    # a process on another computer is killed
    return FileLock(path, thread_local=False, fallback_to_soft=False)
