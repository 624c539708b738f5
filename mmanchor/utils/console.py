"""Output of the tools: JSON files, progress bars, text in any locale."""

import io
import json
import sys
from pathlib import Path

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from .files import whole_files


def write_json(results: dict, path: Path, indent: int = 2) -> None:
    """Write results as JSON, without ever leaving a half-written file."""
    with whole_files(path.parent) as partial:
        (partial / path.name).write_text(
            json.dumps(results, indent=indent) + '\n', encoding='utf-8'
        )


def print_in_any_locale() -> None:
    """Print characters that the locale lacks as escapes.

    Otherwise, with ``LC_ALL=C`` and without Python's UTF-8 mode, a character
    such as ± in a result would end a tool with an error.
    """
    for stream in (sys.stdout, sys.stderr):
        # Tests replace the streams by objects of other classes.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors='backslashreplace')


def progress_bars(console: Console) -> Progress:
    """Make progress bars that show the remaining time of tasks."""
    return Progress(
        TextColumn('{task.description:<24}'),
        BarColumn(),
        TextColumn('{task.percentage:>3.0f} %'),
        TimeElapsedColumn(),
        TextColumn('left:'),
        TimeRemainingColumn(),
        console=console,
    )
