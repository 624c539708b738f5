"""Paths, hashes, and files that are never left half-written."""

import hashlib
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# The prefix of names of temporary folders.
PARTIAL = '.partial-'


def user_path(text: str) -> str:
    """Expand ``~`` in a path of the command line.

    Shells expand it in ``--out ~/results``, but not in ``--out=~/results``.
    Slurm and launchers without a shell do not expand it at all.

    Example:
        >>> user_path('data/cifar10')
        'data/cifar10'
    """
    return os.path.expanduser(text)


def file_sha256(path: str | Path) -> str:
    """Compute the SHA-256 of a file, in hexadecimal.

    Example:
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = (Path(folder) / 'a').write_bytes(b'abc')
        ...     file_sha256(Path(folder) / 'a')[:8]
        'ba7816bf'
    """
    digest = hashlib.sha256()
    with open(path, 'rb') as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def state_sha256(state_dict: Mapping[str, Any]) -> str:
    """Compute the SHA-256 of the names and values of weights.

    Unlike that of a checkpoint file, it does not depend on times, optimizer
    states or other things that a checkpoint holds beside them.

    Example:
        >>> import torch
        >>> state_sha256(dict(a=torch.ones(2)))[:8]
        '464eb8ea'
    """
    digest = hashlib.sha256()
    for name, value in state_dict.items():
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


@contextmanager
def whole_files(folder: str | Path) -> Iterator[Path]:
    """Write files to a temporary folder, and move them when complete.

    Files are flushed to the disk before they are moved, so that not even a
    power failure leaves a half-written file. After an error, the new files
    are removed, and older files of the same names are not changed.

    Args:
        folder (str | Path): The folder that files are moved to, created if it
            does not exist.

    Yields:
        Path: A temporary folder on the same disk.

    Raises:
        ValueError: The folder can't be written to.

    Example:
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with whole_files(folder) as partial:
        ...         _ = (partial / 'a.txt').write_text('whole')
        ...     (Path(folder) / 'a.txt').read_text()
        'whole'
    """
    folder = Path(folder)
    is_new = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        partial = tempfile.TemporaryDirectory(dir=folder, prefix=PARTIAL)
    except OSError as error:
        raise ValueError(
            'Expected a folder that can be written to, but got '
            f'{folder}: {error.strerror}. Name another.'
        ) from error
    try:
        with partial as path:
            yield Path(path)
            for file in sorted(Path(path).iterdir()):
                _flush_to_disk(file)
                os.replace(file, folder / file.name)
            _flush_to_disk(folder)
    except BaseException:
        if is_new and not any(folder.iterdir()):
            folder.rmdir()
        raise


def _flush_to_disk(path: Path) -> None:
    # Windows flushes only files that are open for writing, and no folders.
    flags = os.O_RDONLY if path.is_dir() else os.O_RDWR
    try:
        handle = os.open(path, flags | getattr(os, 'O_BINARY', 0))
    except PermissionError:
        if path.is_dir():
            return
        raise
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def check_folder(folder: str, what: str, flag: str) -> None:
    """Check that a folder can be written to, before the work starts.

    Args:
        folder (str): The folder, which is created if it does not exist.
        what (str): What the folder is for, for the message.
        flag (str): The flag that names another folder, for the message.

    Raises:
        ValueError: The folder can't be written to.

    Example:
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     check_folder(folder, 'a work dir', '--work-dir')
    """
    try:
        os.makedirs(folder, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ValueError(
            f'Expected {what} that can be written to, but '
            f'got {folder}: {error.strerror}. Name another '
            f'with `{flag}`.'
        ) from error


def check_out(path: str) -> None:
    """Check that the file of ``--out`` can be written, before the work starts.

    Args:
        path (str): The file, whose folder is created if it does not exist.

    Raises:
        ValueError: The folder of the file can't be written to.
    """
    folder = os.path.dirname(path) or os.curdir
    check_folder(folder, f'a folder of {os.path.basename(path)}', '--out')
