"""Describes the command, versions, device and commit of a result."""

import os
import platform
import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import mmcv
import mmengine
import mmpretrain
import numpy as np
import torch
import torchvision

from ..version import __version__


def command_line(words: Sequence[str] | None = None) -> str:
    """Return a command without the folders of this machine.

    Args:
        words (Sequence[str], optional): The words after ``python``. Defaults
            to None: the command of this process.

    Example:
        >>> command_line(['tools/fold.py', 'a.py', '--out=/home/me/b'])
        "python tools/fold.py a.py '--out=…/b'"
    """
    started = [*program(), *sys.argv[1:]]
    words = started if words is None else ['python', *words]
    return shlex.join(map(_shareable_word, words))


def program() -> list[str]:
    """Return the command of this process without its arguments.

    It is ``['mmanchor', 'train']`` for a subcommand of ``mmanchor``, and
    ``['python', 'tools/train.py']`` for a tool.
    """
    name = sys.argv[0]
    if name.startswith('mmanchor '):  # See `mmanchor_cli`.
        return name.split()
    return ['python', name]


def _shareable_word(word: str) -> str:
    name, sign, value = word.partition('=')
    if '://' in word:
        return readable(word)
    if sign and re.fullmatch(r'-{0,2}[\w.-]+', name):
        return f'{name}={shareable_path(value)}'
    return shareable_path(word)


def shareable_path(path: str | Path) -> str:
    """Remove what a path says about the machine and its user.

    Returns:
        str: The path relative to the working directory, or only its last part
        if it is elsewhere.

    Example:
        >>> shareable_path('work_dirs/epoch_6.pth')
        'work_dirs/epoch_6.pth'
        >>> shareable_path('/home/me/epoch_6.pth')
        '…/epoch_6.pth'
    """
    text = str(path)
    if not text.startswith(('/', '~', '..')) and f'{os.sep}..' not in text:
        return readable(text)
    whole, here = os.path.abspath(os.path.expanduser(text)), os.getcwd()
    if os.path.commonpath([whole, here]) == here:
        return readable(os.path.relpath(whole, here))
    return readable(f'…/{os.path.basename(whole)}')


def readable(text: str) -> str:
    """Convert text of the command line to valid UTF-8 in any locale.

    Python represents bytes that it cannot decode in the locale as surrogates,
    which can't be written to a file.

    Example:
        >>> readable('\\udcc3\\udca9t\\udcc3\\udca9')
        'été'
    """
    return text.encode('utf-8', 'surrogateescape').decode('utf-8', 'replace')


def without_folders(text: str, roots: dict[str, str]) -> str:
    """Remove absolute folders from a message.

    Args:
        roots (Dict[str, str]): Replacements of folders. Of a path in another
            folder, only the last part remains.

    Example:
        >>> without_folders(
        ...     'No /disk/data/a.npy, nor /home/me/b.npy.',
        ...     {'/disk/data': 'data'},
        ... )
        'No data/a.npy, nor …/b.npy.'
    """
    for root, name in roots.items():
        if root.startswith('/') and root != '/':
            text = text.replace(root, name)
    # A slash after a letter or colon belongs to a URL or a relative path.
    return re.sub(r'(?<![\w.:/…])/(?:[^\s/\'"]+/)+', '…/', text)


def versions() -> dict[str, str | None]:
    """Return the versions of the packages that results depend on."""
    return dict(
        mmanchor=__version__,
        mmpretrain=mmpretrain.__version__,
        mmengine=mmengine.__version__,
        mmcv=mmcv.__version__,
        torch=torch.__version__,
        torchvision=torchvision.__version__,
        cuda=torch.version.cuda,
        numpy=np.__version__,
        python=platform.python_version(),
    )


def device_name(device: str) -> str:
    """Return the name of a device, with the number of threads for a CPU."""
    if device.startswith('cuda'):
        return torch.cuda.get_device_name(device)
    return (
        f'{platform.processor() or platform.machine()}, PyTorch threads: '
        f'{torch.get_num_threads()}'
    )


def commit(of: Path = Path(__file__)) -> str | None:
    """Return the commit of a file's repository.

    Returns:
        str | None: The commit, followed by ``-dirty`` if there are changes;
        None if no repository tracks the file.
    """
    try:
        for command in (
            ['ls-files', '--error-unmatch', of.name],
            [
                'describe',
                '--always',
                '--abbrev=40',
                '--dirty',
                '--exclude',
                '*',
            ],
        ):
            done = subprocess.run(
                ['git', *command],
                cwd=of.parent,
                capture_output=True,
                text=True,
                check=True,
                encoding='utf-8',
            )
    except (OSError, subprocess.CalledProcessError):
        return None  # There is no git, or the package is not in a clone.
    return done.stdout.strip()
