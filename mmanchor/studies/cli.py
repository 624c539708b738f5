"""The command line of ``tools/study.py``."""

import argparse
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import takewhile
from pathlib import Path

import mmengine.device.utils
import torch
from rich.console import Console
from rich.markup import escape

from ..checkpoints.safe_loading import checkpoint_loading
from ..engine.cli import add_cfg_options, add_device_flag, import_from_here
from ..engine.hooks.stop_on_signal_hook import SIGNALS, Stopped
from ..suite.report.html import load_template
from ..suite.spec import Settings
from ..utils.files import user_path
from ..utils.names import check_known
from ..utils.provenance import command_line
from .cells import (
    CellStore,
    StudyCell,
    all_cells,
    select_cells,
    suite_settings,
)
from .report import print_study_report, write_study_report
from .results import assemble_study
from .run import (
    REDO,
    StudyRunner,
    check_trainable,
    check_unchanged,
    trainings_left,
)
from .slurm import submit
from .spec import Study, ground_names, load_study, study_names
from .verdict import read_others

STOPPED = 75  # the exit status of a run that a signal stopped


def study_parser() -> argparse.ArgumentParser:
    """Return the parser of ``tools/study.py``."""
    parser = argparse.ArgumentParser(
        # `slurm.without_flags` needs flags with their whole names
        allow_abbrev=False,
        description='Train and measure a grid of settings and seeds. The '
        'same command continues where it was stopped.',
    )
    parser.add_argument(
        'study',
        type=user_path,
        help=f'{", ".join(study_names())}, or a Python file',
    )
    parser.add_argument(
        '--on',
        type=user_path,
        metavar='GROUND',
        help=f'data and architecture: {", ".join(ground_names())}, or a file '
        "(default: the study's)",
    )
    parser.add_argument(
        '--work-dir',
        type=user_path,
        metavar='FOLDER',
        help='where everything is stored (default: '
        'work_dirs/studies/STUDY_GROUND)',
    )
    parser.add_argument(
        '--data-root',
        type=user_path,
        default='data',
        metavar='FOLDER',
        help='the folder of the data sets, also of those that configs look '
        'for in `data` (default: %(default)s)',
    )
    parser.add_argument(
        '--only', nargs='+', metavar='SETTING', help='these settings only'
    )
    parser.add_argument(
        '--seeds', nargs='+', type=int, help="default: the study's"
    )
    parser.add_argument(
        '--redo',
        nargs='+',
        choices=REDO,
        default=[],
        help='repeat only cells whose config, suite or protocol was changed, '
        'or only cells whose test sets were missing',
    )
    parser.add_argument(
        '--baseline',
        metavar='SETTING',
        help='the setting that all others are compared with (default: the '
        "study's)",
    )
    parser.add_argument(
        '--beside',
        nargs='+',
        type=user_path,
        default=[],
        metavar='FOLDER',
        help='work dirs of the same study on other grounds, on which '
        'recommended settings must hold as well',
    )
    parser.add_argument(
        '--train-only',
        action='store_true',
        help='train, and stop before measuring; the same command without it '
        'measures',
    )
    action = parser.add_mutually_exclusive_group()
    action.add_argument(
        '--list', action='store_true', help='print cells and their state'
    )
    action.add_argument(
        '--report',
        action='store_true',
        help='make tables and figures of the finished cells',
    )
    action.add_argument(
        '--cell',
        type=int,
        nargs='?',
        const=-1,
        metavar='N',
        help='run one cell of --list; without N, that of SLURM_ARRAY_TASK_ID',
    )
    action.add_argument(
        '--slurm',
        metavar='PARTITION',
        help='submit the cells that are left as job arrays, and a job that '
        'makes the report; SRUN_ARGS and CPUS_PER_TASK as for '
        'tools/slurm_train.sh',
    )
    parser.add_argument(
        '--at-once',
        type=int,
        metavar='N',
        help='at most N jobs of an array at a time (with --slurm)',
    )
    add_device_flag(parser)
    parser.add_argument(
        '--batch-size',
        type=int,
        help="batch size of measuring (default: 256, or the ground's)",
    )
    parser.add_argument(
        '--workers',
        type=int,
        default=min(8, os.cpu_count() or 1),
        help='threads that read test images (default: %(default)s)',
    )
    add_cfg_options(parser)
    return parser


def run_study(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv (Sequence[str], optional): Arguments. Defaults to None: those of
            the process.

    Returns:
        int: 1 if a cell failed, else 0.

    Raises:
        FileNotFoundError: The study or the ground does not exist.
        ImportError: Jinja2 is not installed.
        ValueError: The study or a flag has an unknown name, a config cannot
            be trained, or stored cells have other settings than the present
            study.
    """
    argv = sys.argv[1:] if argv is None else list(argv)
    args = study_parser().parse_args(argv)
    # with the present stdout, because training redirects it
    console = Console(file=sys.stdout, emoji=False)
    study = load_study(args.study, args.on, args.seeds)
    if args.baseline is not None:
        names = [one.name for one in study.settings]
        check_known([args.baseline], names, '--baseline')
        study = replace(study, baseline=args.baseline)
    every_cell = all_cells(study, args.cfg_options)
    cells = select_cells(every_cell, args.only)
    work_dir = Path(
        args.work_dir or f'work_dirs/studies/{study.name}_{study.on.name}'
    )
    store = CellStore(work_dir)
    others = read_others(args.beside, study.name)
    if args.list:
        for cell in cells:
            text = f'{cell.number:>4}  {cell}: {store.state(cell)}'
            console.print(escape(text), soft_wrap=True)
        return 0
    if args.slurm:
        check_unchanged(cells, store, args.redo)
        trainings = trainings_left(cells, store, args.redo)
        check_trainable(trainings, args.data_root, here=False)
        for line in submit(study, cells, store, args, argv, work_dir):
            console.print(escape(line), soft_wrap=True)
        return 0
    load_template()  # if Jinja2 is missing, this fails before training
    failed = {}
    if not args.report:
        if args.cell is not None:
            cells = [_cell_of_number(every_cell, args.cell)]
        runner = StudyRunner(
            cells,
            work_dir,
            args.data_root,
            _suite_settings(study, args),
            console,
            args.redo,
            args.train_only,
        )
        with _train_on(args.device), checkpoint_loading(advice=''):
            runner.run(wait=args.cell is not None)
        failed = runner.failed
        for cell in runner.elsewhere:
            text = 'another process with the same --work-dir runs it.'
            console.print(escape(f'{cell}: {text}'), soft_wrap=True)
    if args.cell is None and (args.report or not args.train_only):
        results = assemble_study(
            study, cells, store, as_published=not args.cfg_options
        )
        results['command'] = _command_of_report(args, argv)
        write_study_report(results, study.plot, work_dir, others)
        print_study_report(results, work_dir, console, others)
    return int(bool(failed))


def _command_of_report(args: argparse.Namespace, argv: Sequence[str]) -> str:
    """The one command that gives the report, however many runs it took.

    It leaves out flags that only name folders or divide the work.
    """
    words = ['tools/study.py', args.study]
    for name in ('on', 'only', 'seeds', 'baseline'):
        value = getattr(args, name)
        if value is not None:
            values = value if isinstance(value, list) else [value]
            words += [f'--{name}', *map(str, values)]
    if args.cfg_options:
        start = argv.index('--cfg-options')
        words += takewhile(
            lambda word: word == '--cfg-options' or word[:2] != '--',
            argv[start:],
        )
    return command_line(words)


def _suite_settings(study: Study, args: argparse.Namespace) -> Settings:
    values = suite_settings(study.on)
    if args.batch_size is not None:
        values['batch_size'] = args.batch_size
    values.update(workers=args.workers, device=args.device, images=False)
    return Settings(**values)


def _cell_of_number(cells: list[StudyCell], number: int) -> StudyCell:
    if number == -1:
        task = os.environ.get('SLURM_ARRAY_TASK_ID', '')
        if not task.isdigit():
            raise ValueError(
                'Expected --cell N, or a task of a Slurm array that has '
                'SLURM_ARRAY_TASK_ID, but got neither. Name a cell.'
            )
        number = int(task)
    if not 0 <= number < len(cells):
        raise ValueError(
            f'Expected --cell from 0 to {len(cells) - 1}, but '
            f'got {number}. See --list.'
        )
    return cells[number]


@contextmanager
def _train_on(device: str) -> Iterator[None]:
    """Make MMEngine train on a device rather than on the first GPU."""
    before = mmengine.device.utils.DEVICE
    kind, _, index = device.partition(':')
    if kind == 'cuda' and index:
        torch.cuda.set_device(int(index))
    mmengine.device.utils.DEVICE = kind
    try:
        yield
    finally:
        mmengine.device.utils.DEVICE = before


def main() -> None:
    """Run the command, and end with one line if a signal stops it.

    The exit status is 1 if a cell failed, and 75 if a signal stopped the run,
    which the same command continues.
    """
    import_from_here()
    for number in SIGNALS:
        signal.signal(number, signal.default_int_handler)
    try:
        status = run_study()
    except (KeyboardInterrupt, Stopped):
        sys.stderr.write('Stopped. Run the same command again to continue.\n')
        status = STOPPED
    sys.exit(status)
