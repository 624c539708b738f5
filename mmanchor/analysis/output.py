"""What the tools write and show while they run."""
import json
import os
import subprocess
from pathlib import Path
from typing import Optional

from rich.console import Console
from rich.progress import (BarColumn, Progress, TextColumn, TimeElapsedColumn,
                           TimeRemainingColumn)


def write_json(results: dict, path: Path) -> None:
    """Write results at once, so that no half-written file is ever seen."""
    partial = path.with_suffix('.partial')
    partial.write_text(json.dumps(results, indent=2) + '\n')
    os.replace(partial, path)


def progress_bars(console: Console) -> Progress:
    """Bars that tell how far tasks are and how long they will take."""
    return Progress(
        TextColumn('{task.description:<24}'),
        BarColumn(),
        TextColumn('{task.percentage:>3.0f} %'),
        TimeElapsedColumn(),
        TextColumn('left:'),
        TimeRemainingColumn(),
        console=console)


def commit(of: Path = Path(__file__)) -> Optional[str]:
    """The commit of a file's repository, ``-dirty`` where more was changed.

    Args:
        of (Path): The file. Defaults to this one.

    Returns:
        str | None: None of a file that no repository tracks.
    """
    try:
        for command in (['ls-files', '--error-unmatch', of.name], [
                'describe', '--always', '--abbrev=40', '--dirty', '--exclude',
                '*'
        ]):
            done = subprocess.run(['git', *command],
                                  cwd=of.parent,
                                  capture_output=True,
                                  text=True,
                                  check=True)
    except (OSError, subprocess.CalledProcessError):
        return None  # no git, or a package among another repository's files
    return done.stdout.strip()
