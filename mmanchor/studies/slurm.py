"""A grid as job arrays of Slurm."""

import argparse
import math
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from .cells import CellStore, StudyCell
from .spec import Study

TOOLS = Path(__file__).parent.parent / '.mim' / 'tools'
# what tasks do by themselves, and how many values it has
_NOT_FOR_TASKS = {'--slurm': 1, '--at-once': 1, '--only': math.inf}


def submit(
    study: Study,
    cells: Sequence[StudyCell],
    kept: CellStore,
    args: argparse.Namespace,
    argv: Sequence[str],
    work_dir: Path,
) -> Iterator[str]:
    """Submit what is left of a grid.

    Cells whose model another cell trains come in an array of their own,
    behind the first, so as not to wait for it with a GPU in hand. A common
    start that is no setting is trained by one of them while others wait.

    Args:
        study (Study): Any.
        cells (Sequence[StudyCell]): Those that are asked for.
        kept (CellStore): What is known of them.
        args (argparse.Namespace): Of the command line.
        argv (Sequence[str]): The same in words, for the tasks.
        work_dir (Path): Where all is kept; logs go to ``slurm`` in it.

    Yields:
        str: What was submitted, in a line.

    Raises:
        ValueError: Slurm refuses it, or is not there.
    """
    left = [cell for cell in cells if not kept.is_done(cell, args.redo)]
    logs = work_dir / 'slurm'
    logs.mkdir(parents=True, exist_ok=True)
    before: list[str] = []
    for wave in waves(left):
        numbers = ','.join(str(cell.number) for cell in wave)
        limit = f'%{args.at_once}' if args.at_once else ''
        job = _sbatch(
            [
                *_options(args.slurm, f'study-{study.name}', True),
                '--array',
                numbers + limit,
                '--output',
                f'{logs}/%A_%a.log',
                *_after(before),
            ],
            [*words_of(argv), '--cell'],
        )
        yield f'Job array {job}: cells {numbers}'
        before.append(job)
    job = _sbatch(
        [
            *_options(args.slurm, f'report-{study.name}', False),
            '--output',
            f'{logs}/%j_report.log',
            *_after(before),
        ],
        [*words_of(argv, and_leave=('--slurm', '--at-once')), '--report'],
    )
    yield f'Job {job}: the report, after them. Logs: {logs}'


def waves(cells: Sequence[StudyCell]) -> list[list[StudyCell]]:
    """Cells in the order of what they need: first those that train."""
    place: dict[str, int] = {}

    def depth(training) -> int:
        start = training.start
        return 0 if start is None else 1 + depth(start)

    found: dict[int, list[StudyCell]] = {}
    for cell in cells:
        trained_by = [
            place.setdefault(one.key, cell.number) for one in cell.trainings
        ]
        wave = 2 * depth(cell.training) + any(
            one != cell.number for one in trained_by
        )
        found.setdefault(wave, []).append(cell)
    return [found[wave] for wave in sorted(found)]


def words_of(
    argv: Sequence[str], and_leave: Sequence[str] = tuple(_NOT_FOR_TASKS)
) -> list[str]:
    """A command line without some flags and their values.

    Example:
        >>> words_of(['--slurm', 'gpu', 'masking', '--seeds', '0', '1'])
        ['masking', '--seeds', '0', '1']
    """
    found, left = [], 0.0
    for word in argv:
        name, given, _ = word.partition('=')
        if word.startswith('--'):
            left = (
                0.0
                if name not in and_leave
                else 1 + (0 if given else _NOT_FOR_TASKS[name])
            )
        if left <= 0:
            found.append(word)
        left -= 1
    return found


def _options(partition: str, name: str, trains: bool) -> list[str]:
    found = [
        '--parsable',
        '--partition',
        partition,
        '--job-name',
        name,
        '--ntasks',
        '1',
        '--cpus-per-task',
        os.environ.get('CPUS_PER_TASK', '5'),
    ]
    # nodes without GPUs would refuse to be asked for them
    ask = f'sinfo --noheader --format %G --partition {shlex.quote(partition)}'
    if trains and 'gpu' in _run(shlex.split(ask)):
        found += ['--gres', 'gpu:1']
    return found + shlex.split(os.environ.get('SRUN_ARGS', ''))


def _after(jobs: list[str]) -> list[str]:
    return ['--dependency', f'afterany:{":".join(jobs)}'] if jobs else []


def _sbatch(options: list[str], words: list[str]) -> str:
    """Submit; the number of the job."""
    printed = _run(
        ['sbatch', *options, str(TOOLS.resolve() / 'study.sbatch'), *words]
    )
    return printed.strip().partition(';')[0]


def _run(command: list[str]) -> str:
    environment = dict(
        os.environ, TOOLS=str(TOOLS.resolve()), PYTHON=sys.executable
    )
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            env=environment,
            encoding='utf-8',
        )
    except FileNotFoundError:
        raise ValueError(
            f'Expected Slurm for --slurm, but there is no `{command[0]}`. '
            'Run it on a login node, or without --slurm.'
        ) from None
    if done.returncode:
        raise ValueError(
            f'Expected Slurm to take `{shlex.join(command)}`, '
            f'but got: {done.stderr.strip()}'
        )
    return done.stdout
