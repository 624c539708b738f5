"""Files that are there whole, or not at all."""

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# what names of temporary folders begin with
PARTIAL = '.partial-'


def user_path(text: str) -> str:
    """A path of the command line, with ``~`` expanded.

    Shells expand it in ``--out ~/results``, but not in ``--out=~/results``,
    nor do Slurm and launchers that use no shell.

    Args:
        text (str): As it was typed.

    Example:
        >>> user_path('data/cifar10')
        'data/cifar10'
    """
    return os.path.expanduser(text)


def file_sha256(path: str | Path) -> str:
    """Compute the SHA-256 of a file, in hexadecimal.

    Args:
        path (str | Path): The file, which is read block by block.

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


@contextmanager
def whole_files(folder: str | Path) -> Iterator[Path]:
    """Give a folder to write to; its files move to another at the end.

    They are on the disk by then, so that not even a power cut leaves half.

    After an error nothing is left of them, and files of the same names that
    were there before stay as they were.

    Args:
        folder (str | Path): Where they go; made if it isn't there.

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
    made = not folder.exists()
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
                _to_disk(file)
                os.replace(file, folder / file.name)
            _to_disk(folder)
    except BaseException:
        if made and not any(folder.iterdir()):
            folder.rmdir()
        raise


def _to_disk(path: Path) -> None:
    # Windows flushes only what is open for writing, and opens no folders
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
