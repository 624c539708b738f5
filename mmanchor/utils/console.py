"""What the tools write and show while they run."""

import json
import platform
import shlex
import subprocess
import sys
from pathlib import Path

import mmcv
import mmengine
import mmpretrain
import numpy as np
import torch
import torchvision
from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from ..version import __version__
from .files import whole_files


def write_json(results: dict, path: Path, indent: int = 2) -> None:
    """Write results at once, so that no half-written file is ever seen."""
    with whole_files(path.parent) as partial:
        (partial / path.name).write_text(
            json.dumps(results, indent=indent) + '\n'
        )


def progress_bars(console: Console) -> Progress:
    """Bars that tell how far tasks are and how long they will take."""
    return Progress(
        TextColumn('{task.description:<24}'),
        BarColumn(),
        TextColumn('{task.percentage:>3.0f} %'),
        TimeElapsedColumn(),
        TextColumn('left:'),
        TimeRemainingColumn(),
        console=console,
    )


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


def program() -> list[str]:
    """The words that started this program, before its arguments.

    They are ``['mmanchor', 'train']`` for a subcommand of ``mmanchor``, and
    ``['python', 'tools/train.py']`` for a tool.
    """
    name = sys.argv[0]
    if name.startswith('mmanchor '):  # see `mmanchor_cli`
        return name.split()
    return ['python', name]


def command_line() -> str:
    """The command that started this program, for reports."""
    return shlex.join([*program(), *sys.argv[1:]])


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
            )
    except (OSError, subprocess.CalledProcessError):
        return None  # no git, or a package among another repository's files
    return done.stdout.strip()
