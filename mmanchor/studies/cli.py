"""``tools/study.py``: from the command line to a grid and its report."""

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
from ..suite.settings import Settings
from ..utils.files import user_path
from ..utils.names import did_you_mean
from ..utils.provenance import command_line
from .cells import CellStore, StudyCell, all_cells, select, suite_settings
from .checks import check_trainable
from .report import print_report, write_report
from .results import assemble
from .run import REDO, Grid, check_unchanged, to_train
from .slurm import submit
from .spec import Study
from .spec_file import ground_names, load_study, study_names
from .verdict import read_others

STOPPED = 75  # the exit status of a run that was told to stop, and can go on


def study_parser() -> argparse.ArgumentParser:
    """The flags of ``tools/study.py``."""
    parser = argparse.ArgumentParser(
        allow_abbrev=False,  # jobs get flags by their names
        description='Train and measure a grid of settings and seeds. Run '
        'again, it goes on where it was.',
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
        help='where all is kept (default: work_dirs/studies/STUDY_GROUND)',
    )
    parser.add_argument(
        '--data-root',
        type=user_path,
        default='data',
        metavar='FOLDER',
        help='where data sets are: what configs look for in `data`, and the '
        "suites' sets (default: %(default)s)",
    )
    parser.add_argument(
        '--only', nargs='+', metavar='SETTING', help='these settings alone'
    )
    parser.add_argument(
        '--seeds', nargs='+', type=int, help="default: the study's"
    )
    parser.add_argument(
        '--redo',
        nargs='+',
        choices=REDO,
        default=[],
        help='do again, and these alone: cells whose config, suite or '
        'protocol was changed since; cells whose test sets were missing',
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
        help='work dirs of the same study on other grounds, which recommended '
        'settings have to hold on too',
    )
    parser.add_argument(
        '--train-only',
        action='store_true',
        help='train, and stop before measuring; the same command without it '
        'measures',
    )
    doing = parser.add_mutually_exclusive_group()
    doing.add_argument(
        '--list', action='store_true', help='print cells and their state'
    )
    doing.add_argument(
        '--report',
        action='store_true',
        help='make JSON, table and figure of the cells that are there',
    )
    doing.add_argument(
        '--cell',
        type=int,
        nargs='?',
        const=-1,
        metavar='N',
        help='do one cell of --list; without N, that of SLURM_ARRAY_TASK_ID',
    )
    doing.add_argument(
        '--slurm',
        metavar='PARTITION',
        help='submit what is left as job arrays, and a job that reports; '
        'SRUN_ARGS and CPUS_PER_TASK as for tools/slurm_train.sh',
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
        help="of measuring (default: 256, or the ground's)",
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
    """Do what the command line says.

    Args:
        argv (Sequence[str], optional): Arguments. Defaults to None: those of
            the process.

    Returns:
        int: 1 where a cell failed, else 0.

    Raises:
        FileNotFoundError: There is no such study or ground.
        ImportError: Jinja2 is not installed.
        ValueError: The study, or a flag, names what is not there; a config
            of it can't be trained; or cells are of other settings than the
            study has now.
    """
    argv = sys.argv[1:] if argv is None else list(argv)
    args = study_parser().parse_args(argv)
    console = Console(file=sys.stdout, emoji=False)  # training redirects it
    study = load_study(args.study, args.on, args.seeds)
    if args.baseline is not None:
        names = [one.name for one in study.settings]
        if args.baseline not in names:
            advice = did_you_mean(args.baseline, names, 'Change it.')
            raise ValueError(
                f'Expected --baseline to be among {", ".join(names)}, but got '
                f'{args.baseline!r}. {advice}'
            )
        study = replace(study, baseline=args.baseline)
    whole = all_cells(study, args.cfg_options)
    cells = select(whole, args.only)
    out = Path(
        args.work_dir or f'work_dirs/studies/{study.name}_{study.on.name}'
    )
    kept = CellStore(out)
    others = read_others(args.beside, study.name)
    if args.list:
        _list(cells, kept, console)
        return 0
    if args.slurm:
        check_unchanged(cells, kept, args.redo)
        check_trainable(
            to_train(cells, kept, args.redo), args.data_root, here=False
        )
        for line in submit(study, cells, kept, args, argv, out):
            console.print(escape(line), soft_wrap=True)
        return 0
    load_template()  # says now what is lacking, not after training
    failed = {}
    if not args.report:
        if args.cell is not None:
            cells = [_one(whole, args.cell)]
        settings = _settings(study, args)
        with _on_device(args.device), checkpoint_loading(advice=''):
            ran = Grid(
                cells,
                out,
                args.data_root,
                settings,
                console,
                args.redo,
                args.train_only,
            ).run(wait=args.cell is not None)
        failed = ran.failed
        for cell in ran.elsewhere:
            console.print(
                escape(
                    f'{cell}: another process does it, with the same '
                    '--work-dir.'
                ),
                soft_wrap=True,
            )
    if args.cell is None and (args.report or not args.train_only):
        results = assemble(
            study, cells, kept, as_published=not args.cfg_options
        )
        results['command'] = _command(args, argv)
        write_report(results, study.plot, out, others)
        print_report(results, out, console, others)
    return int(bool(failed))


def _command(args: argparse.Namespace, argv: Sequence[str]) -> str:
    """The command for all that a report has, in however many runs it was.

    Without what only says where files are, or how the work is divided.
    """
    words = ['tools/study.py', args.study]
    for flag, value in (
        ('--on', args.on),
        ('--only', args.only),
        ('--seeds', args.seeds),
        ('--baseline', args.baseline),
    ):
        if value is not None:
            values = value if isinstance(value, list) else [value]
            words += [flag, *map(str, values)]
    if args.cfg_options:
        start = argv.index('--cfg-options')
        words += takewhile(
            lambda word: word == '--cfg-options' or word[:2] != '--',
            argv[start:],
        )
    return command_line(words)


def _settings(study: Study, args: argparse.Namespace) -> Settings:
    found = dict(
        suite_settings(study.on), workers=args.workers, device=args.device
    )
    if args.batch_size is not None:
        found['batch_size'] = args.batch_size
    return Settings(**found)


def _one(cells: list[StudyCell], number: int) -> StudyCell:
    if number == -1:
        found = os.environ.get('SLURM_ARRAY_TASK_ID', '')
        if not found.isdigit():
            raise ValueError(
                'Expected --cell N, or a task of a Slurm array that has '
                'SLURM_ARRAY_TASK_ID, but got neither. Name a cell.'
            )
        number = int(found)
    if not 0 <= number < len(cells):
        raise ValueError(
            f'Expected --cell from 0 to {len(cells) - 1}, but '
            f'got {number}. See --list.'
        )
    return cells[number]


def _list(
    cells: Sequence[StudyCell], kept: CellStore, console: Console
) -> None:
    for cell in cells:
        console.print(
            escape(f'{cell.number:>4}  {cell}: {kept.state(cell)}'),
            soft_wrap=True,
        )


@contextmanager
def _on_device(device: str) -> Iterator[None]:
    """Let runners train on a device; they take the first there is."""
    before = mmengine.device.utils.DEVICE
    kind, _, index = device.partition(':')
    if kind == 'cuda' and index:
        torch.cuda.set_device(int(index))
    mmengine.device.utils.DEVICE = kind
    try:
        yield
    finally:
        mmengine.device.utils.DEVICE = before


class _Told(BaseException):
    """A signal came while no training was there to save itself."""


def _stop(number, _):
    raise _Told


def main() -> None:
    """Run, and end with a line rather than tracebacks where it is stopped.

    The exit status is 1 where a cell failed, and 75 where a signal stopped
    what can go on.
    """
    import_from_here()
    for number in SIGNALS:
        signal.signal(number, _stop)
    try:
        status = run_study()
    except (KeyboardInterrupt, _Told, Stopped):
        print(
            'Stopped. Run the same command again and it goes on.',
            file=sys.stderr,
        )
        sys.exit(STOPPED)
    sys.exit(status)
