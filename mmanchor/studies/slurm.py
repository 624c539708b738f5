"""Submitting the cells of a study to Slurm, as job arrays."""

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
# flags that tasks must not get, with their numbers of values
_NOT_FOR_TASKS = {'--slurm': 1, '--at-once': 1, '--only': math.inf}


def submit(
    study: Study,
    cells: Sequence[StudyCell],
    store: CellStore,
    args: argparse.Namespace,
    argv: Sequence[str],
    work_dir: Path,
) -> Iterator[str]:
    """Submit the cells that are left, and a job that makes the report.

    Cells whose model another cell trains are in a second array that waits
    for the first, so that they occupy no GPU while they wait. If several
    settings start from a model that is no setting itself, one of their tasks
    trains it while the others wait. ``argv`` are the words of the command,
    of which ``args`` are the parsed flags.

    Yields:
        str: A line about each submitted job.

    Raises:
        ValueError: Slurm is not installed, or refuses a job.
    """
    left = [cell for cell in cells if not store.is_done(cell, args.redo)]
    logs = work_dir / 'slurm'
    logs.mkdir(parents=True, exist_ok=True)
    earlier: list[str] = []
    for wave in waves(left):
        numbers = ','.join(str(cell.number) for cell in wave)
        limit = f'%{args.at_once}' if args.at_once else ''
        options = _options(args.slurm, f'study-{study.name}', trains=True)
        options += ['--array', numbers + limit]
        options += ['--output', f'{logs}/%A_%a.log', *_after(earlier)]
        job = _sbatch(options, [*without_flags(argv), '--cell'])
        yield f'Job array {job}: cells {numbers}'
        earlier.append(job)
    options = _options(args.slurm, f'report-{study.name}', trains=False)
    options += ['--output', f'{logs}/%j_report.log', *_after(earlier)]
    words = without_flags(argv, ('--slurm', '--at-once'))
    job = _sbatch(options, [*words, '--report'])
    yield f'Job {job}: the report, after them. Logs: {logs}'


def waves(cells: Sequence[StudyCell]) -> list[list[StudyCell]]:
    """Group cells so that each only needs models that earlier groups train."""
    trainer_of: dict[str, int] = {}

    def depth(training) -> int:
        start = training.start
        return 0 if start is None else 1 + depth(start)

    by_wave: dict[int, list[StudyCell]] = {}
    for cell in cells:
        trained_by = {
            trainer_of.setdefault(one.key, cell.number)
            for one in cell.trainings
        }
        wave = 2 * depth(cell.training) + (trained_by != {cell.number})
        by_wave.setdefault(wave, []).append(cell)
    return [by_wave[wave] for wave in sorted(by_wave)]


def without_flags(
    argv: Sequence[str], flags: Sequence[str] = tuple(_NOT_FOR_TASKS)
) -> list[str]:
    """Remove some flags and their values from a command line.

    The flags are by default those that tasks must not get.

    Example:
        >>> without_flags(['--slurm', 'gpu', 'masking', '--seeds', '0', '1'])
        ['masking', '--seeds', '0', '1']
    """
    words, to_skip = [], 0.0
    for word in argv:
        name, given, _ = word.partition('=')
        if word.startswith('--'):
            to_skip = 0.0
            if name in flags:
                to_skip = 1 + (0 if given else _NOT_FOR_TASKS[name])
        if to_skip <= 0:
            words.append(word)
        to_skip -= 1
    return words


def _options(partition: str, name: str, trains: bool) -> list[str]:
    options = ['--parsable', '--partition', partition, '--job-name', name]
    cpus = os.environ.get('CPUS_PER_TASK', '5')
    options += ['--ntasks', '1', '--cpus-per-task', cpus]
    # a partition without GPUs would refuse a job that asks for one
    ask = f'sinfo --noheader --format %G --partition {shlex.quote(partition)}'
    if trains and 'gpu' in _run(shlex.split(ask)):
        options += ['--gres', 'gpu:1']
    return options + shlex.split(os.environ.get('SRUN_ARGS', ''))


def _after(jobs: list[str]) -> list[str]:
    return ['--dependency', f'afterany:{":".join(jobs)}'] if jobs else []


def _sbatch(options: list[str], words: list[str]) -> str:
    """Submit a job and return its number."""
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
            command, capture_output=True, env=environment, encoding='utf-8'
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
