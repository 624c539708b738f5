"""What the tools write and show while they run."""

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
    """Write results at once, so that no half-written file is ever seen."""
    with whole_files(path.parent) as partial:
        (partial / path.name).write_text(
            json.dumps(results, indent=indent) + '\n', encoding='utf-8'
        )


def print_in_any_locale() -> None:
    """Let this process print letters that its locale lacks, as escapes.

    With ``LC_ALL=C`` and Python's UTF-8 mode off, a name or a sign such as
    ± would end a tool when its work is done.
    """
    for stream in (sys.stdout, sys.stderr):
        # tests put other streams in their place
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors='backslashreplace')


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
