"""The command line of ``tools/threshold.py``: abstention, prediction sets."""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
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
from ..evaluation.confidence_intervals import wilson_interval
from ..evaluation.prediction_sets import (
    METHODS,
    PredictionSets,
    fit_prediction_sets,
    save_prediction_sets,
)
from ..utils.config import read_config
from ..utils.files import user_path
from .cache import ResultStore
from .candidates import Candidate
from .images import check_clean_set, is_on_disk
from .measure import measure
from .report.table import Table, number, to_rich, with_interval
from .runner import Failures, ModelEvaluator
from .spec import Cell, Settings, load_suite


def make_parser() -> argparse.ArgumentParser:
    """Build the parser of ``tools/threshold.py``."""
    parser = argparse.ArgumentParser(
        description='On images held out of the clean set, find the '
        'confidence or spread beyond which the error is at most what is asked '
        'for (--max-error), or sets of classes that hold the label as often '
        'as is asked for (--coverage).'
    )
    parser.add_argument('config', type=user_path, help='config file')
    parser.add_argument('checkpoint', type=user_path, help='checkpoint file')
    parser.add_argument(
        '--suite', type=user_path, required=True, help='see tools/evaluate.py'
    )
    asked = parser.add_mutually_exclusive_group(required=True)
    asked.add_argument(
        '--max-error',
        type=float,
        metavar='SHARE',
        help='of trusted answers, as 0.05',
    )
    asked.add_argument(
        '--coverage',
        type=float,
        metavar='SHARE',
        help='of prediction sets, as 0.9',
    )
    parser.add_argument(
        '--sets',
        choices=METHODS,
        default='raps',
        help='with --coverage: how sets are made (default: %(default)s)',
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


def choose_threshold(
    argv: Sequence[str] | None = None,
) -> Threshold | PredictionSets:
    """Run ``tools/threshold.py``: fit, save and check.

    A threshold or prediction sets are fitted on held-out images, saved beside
    the checkpoint, and checked on the other test images.

    Raises:
        FileNotFoundError: A file or the clean set is missing.
        ValueError: No threshold reaches the level, the model has no spread,
            or there are too few held-out images for the coverage.
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

    def measured(cell: Cell, held_out: bool = False):
        batches = evaluator.batches(cell, held_out=held_out)
        (result,) = measure(
            evaluator.loaded,
            batches,
            args.device,
            figures=False,
            keep_answers=args.coverage is not None,
            keep_images=args.coverage is None,
        )
        if args.coverage is not None:
            return result.answers.cpu().softmax(1), batches.labels
        images = result.images
        if args.by not in images:
            raise ValueError(
                f'Expected a model that has a {args.by} for --by, but got one '
                'that has none. Use --by confidence.'
            )
        return images[args.by], images['predicted'] != images['label']

    held_out = measured(evaluator.clean, True)
    where = (args.checkpoint, candidate.sha256, candidate.how or 'plain')
    if args.coverage is None:
        fitted = find_threshold(
            *held_out, args.max_error, args.by, args.confidence
        )
        path = save_threshold(*where, fitted)
    else:
        fitted = fit_prediction_sets(*held_out, args.coverage, args.sets)
        path = save_prediction_sets(*where, fitted)
    sets = {
        'clean, held out': [held_out],
        'clean, the rest': [measured(evaluator.clean)],
    }
    for one in suite.shifts:
        cells = list(one.cells())
        if not all(cell.kind is None or is_on_disk(cell) for cell in cells):
            continue  # tools/evaluate.py has not made it yet
        parts = failures.attempt(
            candidate.name,
            one.name,
            lambda cells=cells: [measured(cell) for cell in cells],
        )
        if parts is not None:
            sets[one.name] = parts
    table = check_table if args.coverage is None else check_sets_table
    console = Console(emoji=False)
    for part in to_rich(table(fitted, sets), console.width):
        console.print(part)
    what = 'Threshold' if args.coverage is None else 'Prediction sets'
    console.print(escape(f'{what}: {path}'), soft_wrap=True)
    return fitted


def check_sets_table(fitted: PredictionSets, sets: dict[str, list]) -> Table:
    """Make a table of the coverage and the size of prediction sets.

    ``sets`` has for each set of images, and each kind and severity of it,
    probabilities (N, num_classes) and labels (N,).
    """
    rows = []
    for name, parts in sets.items():
        probabilities, labels = map(torch.cat, zip(*parts))
        inside = fitted.of(probabilities)
        covered = inside.gather(1, labels[:, None]).double().mean().item()
        # kinds share their images, so the interval is that of one kind
        _, high = wilson_interval(covered, len(parts[0][1]))
        rows.append(
            [
                name,
                f'{len(labels):,}',
                number(100 * covered),
                number(inside.sum(1).double().mean().item(), 2),
                'no' if high < fitted.coverage else 'yes',
            ]
        )
    return Table(
        f'Prediction sets ({fitted.method.upper()})',
        f'Sets that hold the label of {100 * fitted.coverage:g} % of images '
        'like the held-out ones. On shifted images nothing is promised; the '
        'last column says "no" where the whole 95 % interval of the share is '
        'below.',
        ['set', 'images', 'holds the label, %', 'classes in a set', 'holds'],
        rows,
    )


def check_table(threshold: Threshold, sets: dict[str, list]) -> Table:
    """Make a table of the coverage and the error of trusted answers.

    ``sets`` has for each set, and each kind and severity of it, the measure of
    uncertainty and whether the prediction is wrong, both (N,).
    """
    rows = []
    for name, parts in sets.items():
        measures, wrong = map(np.concatenate, zip(*parts))
        trusted = threshold.trusts(measures)
        error, ends = None, None
        if trusted.any():
            error = 100 * wrong[trusted].mean()
            # kinds share their images, so the interval is that of one kind
            count = max(1, round(trusted.sum() / len(parts)))
            low, high = wilson_interval(error / 100, count)
            ends = 100 * low, 100 * high
        rows.append(
            [
                name,
                f'{len(wrong):,}',
                f'{100 * trusted.mean():.1f}',
                with_interval(error, ends),
                f'{100 * wrong.mean():.1f}',
            ]
        )
    sign = '≥' if MEASURES[threshold.by] else '≤'
    return Table(
        'Answers to trust',
        f'{threshold.by} {sign} {threshold.value:.4g}: an error of at most '
        f'{100 * threshold.max_error:g} % on images like the held-out ones, '
        f'with a confidence of {100 * threshold.confidence:g} %. On shifted '
        'images nothing is promised. In brackets: 95 % intervals.',
        ['set', 'images', 'trusted, %', 'error of trusted, %', 'error, %'],
        rows,
    )
