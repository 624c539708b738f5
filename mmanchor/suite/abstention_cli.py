"""The command line of ``tools/threshold.py``: when a model should abstain."""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.markup import escape

from ..checkpoints.safe_loading import (
    FLAG_ADVICE,
    add_trust_flag,
    checkpoint_loading,
)
from ..engine.cli import add_cfg_options, add_device_flag, add_reading_flags
from ..engine.reference_flags import add_reference_flags, set_references
from ..evaluation.abstention import (
    MEASURES,
    Threshold,
    find_threshold,
    save_threshold,
)
from ..utils.config import read_config
from ..utils.files import user_path
from .cache import ResultStore
from .candidates import Candidate
from .images import check_clean_set, is_on_disk
from .measure import measure
from .report.table import Table, to_rich
from .runner import Failures, ModelEvaluator
from .spec import Cell, Settings, load_suite


def make_parser() -> argparse.ArgumentParser:
    """Build the parser of ``tools/threshold.py``."""
    parser = argparse.ArgumentParser(
        description='Find the confidence or spread beyond which the error is '
        'at most what is asked for, on images held out of the clean set.'
    )
    parser.add_argument('config', type=user_path, help='config file')
    parser.add_argument('checkpoint', type=user_path, help='checkpoint file')
    parser.add_argument(
        '--suite', type=user_path, required=True, help='see tools/evaluate.py'
    )
    parser.add_argument(
        '--max-error',
        type=float,
        required=True,
        metavar='SHARE',
        help='of trusted answers, as 0.05',
    )
    parser.add_argument(
        '--confidence',
        type=float,
        default=0.95,
        metavar='SHARE',
        help='how sure that is to be (default: %(default)s)',
    )
    parser.add_argument(
        '--by', choices=MEASURES, default='confidence', help='what decides'
    )
    parser.add_argument(
        '--data-root', type=user_path, default='data', metavar='FOLDER'
    )
    add_reading_flags(parser, batch_size=256)
    add_device_flag(parser)
    add_trust_flag(parser)
    add_cfg_options(parser)
    add_reference_flags(parser)
    return parser


def choose_threshold(argv: Sequence[str] | None = None) -> Threshold:
    """Run ``tools/threshold.py``: find, save and check a threshold.

    Args:
        argv (Sequence[str], optional): Arguments. Defaults to None: those of
            the process.

    Raises:
        FileNotFoundError: A file or the clean set is missing.
        ValueError: No threshold reaches the level, or the model has no
            spread.
    """
    args = make_parser().parse_args(argv)
    cfg = read_config(args.config, args.cfg_options)
    set_references(cfg, argparse.Namespace(**vars(args), tta=False))
    suite = load_suite(args.suite, args.data_root)
    check_clean_set(suite)
    candidate = Candidate(
        Path(args.config).stem,
        cfg,
        args.checkpoint,
        args.config,
        args.allow_code_in_checkpoints,
    )
    failures = Failures()
    evaluator = ModelEvaluator(
        suite,
        candidate,
        ResultStore(Path()),
        # `temperature` only makes it hold out the same clean images
        Settings(args.batch_size, args.workers, args.device, temperature=True),
        failures,
        lambda what, share: None,
    )
    with checkpoint_loading(args.allow_code_in_checkpoints, FLAG_ADVICE):
        evaluator.loaded = candidate.load(args.device)

    def answers(cell: Cell, held_out: bool = False):
        (measured,) = measure(
            evaluator.loaded,
            evaluator.batches(cell, held_out=held_out),
            args.device,
            figures=False,
            keep_images=True,
        )
        images = measured.images
        if args.by not in images:
            raise ValueError(
                f'Expected a model that has a {args.by} for --by, but got one '
                'that has none. Use --by confidence.'
            )
        return images[args.by], images['predicted'] != images['label']

    threshold = find_threshold(
        *answers(evaluator.clean, True),
        args.max_error,
        args.by,
        args.confidence,
    )
    how = candidate.how or 'plain'
    path = save_threshold(args.checkpoint, candidate.sha256, how, threshold)
    sets = {'clean, held out': [answers(evaluator.clean, True)]}
    sets['clean, the rest'] = [answers(evaluator.clean)]
    for one in suite.shifts:
        cells = list(one.cells())
        if not all(cell.kind is None or is_on_disk(cell) for cell in cells):
            continue  # tools/evaluate.py has not made it yet
        measured_set = failures.attempt(
            candidate.name,
            one.name,
            lambda cells=cells: [answers(cell) for cell in cells],
        )
        if measured_set is not None:
            sets[one.name] = measured_set
    console = Console(emoji=False)
    for part in to_rich(check_table(threshold, sets), console.width):
        console.print(part)
    console.print(escape(f'Threshold: {path}'), soft_wrap=True)
    return threshold


def check_table(threshold: Threshold, sets: dict[str, list]) -> Table:
    """Make a table of the coverage and the error of trusted answers.

    Args:
        threshold (Threshold): Decides which answers are trusted.
        sets (Dict[str, list]): For each set, and each kind and severity of
            it, a pair: the measure of uncertainty, and whether the prediction
            is wrong, both (N,).
    """
    rows = []
    for name, parts in sets.items():
        measures, wrong = map(np.concatenate, zip(*parts))
        trusted = threshold.trusts(measures)
        error = wrong[trusted].mean() if trusted.any() else None
        rows.append(
            [
                name,
                f'{len(wrong):,}',
                f'{100 * trusted.mean():.1f}',
                '–' if error is None else f'{100 * error:.1f}',
                f'{100 * wrong.mean():.1f}',
            ]
        )
    sign = '≥' if MEASURES[threshold.by] else '≤'
    return Table(
        'Answers to trust',
        f'{threshold.by} {sign} {threshold.value:.4g}: an error of at most '
        f'{100 * threshold.max_error:g} % on images like the held-out ones, '
        f'with a confidence of {100 * threshold.confidence:g} %. On shifted '
        'images nothing is promised.',
        ['set', 'images', 'trusted, %', 'error of trusted, %', 'error, %'],
        rows,
    )
