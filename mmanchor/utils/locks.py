"""Locks that let only one process write to a folder."""

import errno
import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import BaseFileLock, FileLock, Timeout

# The errors of a file system without locks.
_NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP)


class NoLocks(ValueError):
    """The file system does not support locks."""


@contextmanager
def lock(
    path: Path,
    wait: bool = False,
    another: str = 'name another with --work-dir',
) -> Iterator[bool]:
    """Hold a lock, which is released even if the process is killed.

    The process that holds the lock writes its name to a second file, which
    :func:`holder` reads, because Windows can't read a locked file.

    Args:
        path (Path): The file of the lock, created if it does not exist.
        wait (bool): Whether to wait for another process. Defaults to False.
        another (str): How to use another folder, for error messages.

    Yields:
        bool: True if this process holds the lock; False if another one does.

    Raises:
        ValueError: The folder can't be written to, or its file system has no
            locks.
    """
    file_lock = _file_lock(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Try for a second, because `is_locked` holds the lock for a moment.
        file_lock.acquire(timeout=-1 if wait else 1)
    # FileLock raises RuntimeError if this thread holds the lock.
    except (Timeout, RuntimeError):
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
        if file_lock.is_locked:  # A fork of this process does not hold it.
            note.unlink(missing_ok=True)
            file_lock.release()


def holder(path: Path) -> str:
    """Return the name of the process that holds a lock."""
    try:
        return _note(path).read_text(encoding='utf-8') or 'of unknown origin'
    except FileNotFoundError:
        return 'of unknown origin'


def is_locked(path: Path) -> bool:
    """Return whether any process holds a lock now."""
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
    """Raise if another run writes to a folder, and lock the folder.

    Temporary files of runs that were killed are removed.

    Args:
        folder (Path): The folder, created if it does not exist.

    Raises:
        ValueError: Another run holds the lock, or :func:`lock` raises.
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
    # A soft lock is held while its file exists, so it would stay locked if a
    # process on another computer is killed.
    return FileLock(path, thread_local=False, fallback_to_soft=False)
