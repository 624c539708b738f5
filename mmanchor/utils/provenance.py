"""What results were made with, in words that can be shared."""

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
    """A command without folders of this machine.

    Args:
        words (Sequence[str], optional): Behind ``python``. Defaults to None:
            the words that started this process.

    Example:
        >>> command_line(['tools/fold.py', 'a.py', '--out=/home/me/b'])
        "python tools/fold.py a.py '--out=…/b'"
    """
    started = [*program(), *sys.argv[1:]]
    words = started if words is None else ['python', *words]
    return shlex.join(map(_shareable_word, words))


def program() -> list[str]:
    """The words that started this program, before its arguments.

    They are ``['mmanchor', 'train']`` for a subcommand of ``mmanchor``, and
    ``['python', 'tools/train.py']`` for a tool.
    """
    name = sys.argv[0]
    if name.startswith('mmanchor '):  # see `mmanchor_cli`
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
    """A path that says nothing about the machine or its user.

    Args:
        path (str | Path): Any; what is no path stays as it is.

    Returns:
        str: Relative to the working directory, or the last part alone of
        what is elsewhere.

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
    """A text of the command line as UTF-8, whatever the locale.

    Python keeps bytes that the locale has no letters for as surrogates,
    which no file takes.

    Args:
        text (str): As ``sys.argv`` has it.

    Example:
        >>> readable('\\udcc3\\udca9t\\udcc3\\udca9')
        'été'
    """
    return text.encode('utf-8', 'surrogateescape').decode('utf-8', 'replace')


def without_folders(text: str, roots: dict[str, str]) -> str:
    """A message without the absolute folders of one machine.

    Args:
        text (str): Any.
        roots (Dict[str, str]): Folders, and what to call them instead. Of
            others only the last part of a path is left.

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
    # neither what follows another letter, as in a URL
    return re.sub(r'(?<![\w.:/…])/(?:[^\s/\'"]+/)+', '…/', text)


def versions() -> dict[str, str | None]:
    """Of what figures depend on."""
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
    """What a device is called, with PyTorch's threads where it is a CPU."""
    if device.startswith('cuda'):
        return torch.cuda.get_device_name(device)
    return (
        f'{platform.processor() or platform.machine()}, PyTorch threads: '
        f'{torch.get_num_threads()}'
    )


def commit(of: Path = Path(__file__)) -> str | None:
    """The commit of a file's repository, ``-dirty`` where more was changed.

    Args:
        of (Path): The file. Defaults to this one.

    Returns:
        str | None: None of a file that no repository tracks.
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
        return None  # no git, or a package among another repository's files
    return done.stdout.strip()
