"""The command line of ``tools/evaluate.py``."""

import argparse
import copy
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from mmengine.config import Config
from rich.console import Console
from rich.markup import escape

from ..checkpoints.safe_loading import (
    FLAG_ADVICE,
    add_trust_flag,
    checkpoint_loading,
)
from ..engine.cli import (
    add_cfg_options,
    add_device_flag,
    add_reading_flags,
    import_from_here,
)
from ..engine.reference_flags import add_reference_flags, set_references
from ..utils.config import read_config, reference_hooks
from ..utils.console import progress_bars
from ..utils.files import user_path
from ..utils.locks import only_run
from ..utils.provenance import readable
from .cache import ResultStore
from .candidates import Candidate, named
from .ensembles import EnsembleCandidate
from .images import check_clean_set
from .report.html import load_template
from .report.pictures import take_pictures
from .report.writer import assemble, print_report, write_report
from .results import import_pandas
from .runner import clean_results_are_stored, run_suite
from .spec import DEFAULT_SCORES, Settings, Suite, load_suite


def evaluate_parser() -> argparse.ArgumentParser:
    """Build the parser of ``tools/evaluate.py``."""
    parser = argparse.ArgumentParser(
        description='Measure checkpoints on a safety suite: corruptions, '
        'shifts, calibration and anomaly rejection.'
    )
    parser.add_argument(
        'models',
        type=user_path,
        nargs='+',
        metavar='CONFIG CHECKPOINT',
        help='one model or more, standard or anchored; differences are '
        'against the first. `CONFIG CHECKPOINT + CHECKPOINT + CHECKPOINT` is '
        'one model too: the mean of their probabilities (a deep ensemble)',
    )
    parser.add_argument(
        '--suite',
        type=user_path,
        required=True,
        help='cifar10, cifar10-folders, cifar10-folders-2k, cifar100, '
        'imagenet, digits, one of OpenOOD (cifar10-openood, cifar100-openood, '
        'imagenet-openood), or a Python file',
    )
    parser.add_argument(
        '--names', nargs='+', metavar='NAME', help='one a model, for tables'
    )
    parser.add_argument(
        '--out',
        type=user_path,
        metavar='FOLDER',
        help='where results go; what is there already is not measured again '
        '(default: work_dirs/evaluate/SUITE)',
    )
    parser.add_argument(
        '--data-root',
        type=user_path,
        default='data',
        metavar='FOLDER',
        help='where the folders of test sets are (default: %(default)s)',
    )
    parser.add_argument(
        '--scores',
        nargs='+',
        default=list(DEFAULT_SCORES),
        metavar='SCORE',
        help='anomaly scores, the first for the main table (default: '
        f'{" ".join(DEFAULT_SCORES)})',
    )
    parser.add_argument(
        '--fit-share',
        type=float,
        default=0.1,
        metavar='SHARE',
        help='of the training set, on whose features the scores KNN, ViM, '
        'Mahalanobis and ReAct are fitted (default: %(default)s)',
    )
    parser.add_argument(
        '--temperature',
        action='store_true',
        help='fit temperatures on clean images held out, and report before '
        'and after',
    )
    parser.add_argument(
        '--vector-scaling',
        action='store_true',
        help='fit a weight and a bias of each class on clean images held '
        'out, and report before and after',
    )
    parser.add_argument(
        '--coverage',
        type=float,
        metavar='SHARE',
        help='fit prediction sets that hold the label this often, as 0.9, on '
        'clean images held out, and report how often they do and how large '
        'they are on every set',
    )
    parser.add_argument(
        '--max-error',
        type=float,
        metavar='SHARE',
        help='find the confidence from which on at most this share of the '
        'answers is wrong on clean images held out, and report how many '
        'answers it trusts and how many of them are wrong on every set',
    )
    parser.add_argument(
        '--mce',
        action='store_true',
        help='mean corruption error of ImageNet-C, relative to AlexNet',
    )
    add_reading_flags(parser, batch_size=256)
    add_device_flag(parser)
    parser.add_argument('--amp', action='store_true', help='mixed precision')
    parser.add_argument(
        '--no-images',
        action='store_true',
        help='leave images out of report.html, where data are private',
    )
    add_trust_flag(parser)
    add_cfg_options(parser)
    add_reference_flags(parser, several=True)
    return parser


def evaluate(argv: Sequence[str] | None = None) -> dict:
    """Run ``tools/evaluate.py``: measure, write a report and print tables.

    Returns:
        dict: The content of ``results.json``.

    Raises:
        FileNotFoundError: A config, a checkpoint, the suite or the clean test
            set is missing.
        OSError: Results can't be saved.
        ValueError: See :func:`~mmanchor.suite.runner.run_suite`; flags
            contradict each other; or another run writes to the folder.
    """
    args = evaluate_parser().parse_args(argv)
    settings = Settings(
        batch_size=args.batch_size,
        workers=args.workers,
        device=args.device,
        amp=args.amp,
        scores=tuple(args.scores),
        temperature=args.temperature,
        mce=args.mce,
        fit_share=args.fit_share,
        vector_scaling=args.vector_scaling,
        coverage=args.coverage,
        max_error=args.max_error,
        images=not args.no_images,
    )
    suite = load_suite(args.suite, args.data_root)
    out = Path(args.out or f'work_dirs/evaluate/{suite.name}')
    candidates = read_candidates(args)
    try:
        check_clean_set(suite)
    except FileNotFoundError:
        # without results on clean images, the others compare with nothing
        store = ResultStore(out / 'parts')
        if not clean_results_are_stored(suite, candidates, store, settings):
            raise
    console = Console(emoji=False)
    with checkpoint_loading(args.allow_code_in_checkpoints, FLAG_ADVICE):
        for one in candidates:
            if isinstance(one, EnsembleCandidate):
                one.check_members()
        results = measure_all(suite, candidates, out, settings, console)
    print_report(results, out, console)
    return results


def measure_all(
    suite: Suite,
    candidates: Sequence[Candidate],
    out: Path,
    settings: Settings,
    console: Console,
    about: dict | None = None,
    times: dict | None = None,
) -> dict:
    """Measure models on a suite and write a report, with progress bars.

    Args:
        suite (Suite): The test sets.
        candidates (Sequence[Candidate]): The models.
        out (Path): The folder for all files.
        settings (Settings): How to measure.
        console (Console): Where to print.
        about (dict, optional): More entries for ``results.json``.
        times (dict, optional): More entries that differ from run to run.

    Returns:
        dict: The content of ``results.json``.

    Raises:
        ImportError: Jinja2 or pandas is not installed.
        OSError: Results can't be saved.
        ValueError: Another run writes to the folder; see also
            :func:`~mmanchor.suite.runner.run_suite`.
    """
    # raise for a missing library now, not after measuring
    load_template()
    import_pandas()
    start = time.time()
    with only_run(out):
        with progress_bars(console) as bars:
            whole = bars.add_task(
                escape(f'{suite.title}: all'),
                total=suite.num_cells * len(candidates),
            )
            now = bars.add_task('', total=1.0)
            outcome = run_suite(
                suite,
                candidates,
                ResultStore(out / 'parts'),
                settings,
                lambda what, share: bars.update(
                    now, description=escape(what), completed=share
                ),
                lambda count: bars.advance(whole, count),
            )
            bars.update(now, visible=False)
        seconds = dict(seconds=round(time.time() - start, 1))
        results = dict(
            assemble(suite, outcome, settings),
            **(about or {}),
            times=dict(seconds, **(times or {})),
        )
        pictures = take_pictures(
            suite, outcome.images, settings.images, outcome.classes
        )
        write_report(results, out, pictures, outcome.images, outcome.answers)
    return results


def read_candidates(args: argparse.Namespace) -> list[Candidate]:
    """Build the models that the command line names.

    Raises:
        FileNotFoundError: A config or a checkpoint is missing.
        ValueError: A model lacks one of them, an ensemble names a checkpoint
            twice, the numbers of names and models differ, or no model takes
            the flags for references.
    """
    models = split_models(args.models)
    names = args.names or [Path(config).stem for config, _ in models]
    names = [readable(name) for name in names]
    if len(names) != len(models):
        raise ValueError(
            f'Expected as many --names as models, {len(models)}, '
            f'but got {len(names)}. Change them.'
        )
    candidates = []
    for name, (config, checkpoints) in zip(names, models):
        cfg = read_config(config, args.cfg_options)
        for one in _with_references(cfg, args):
            members = tuple(
                Candidate(
                    name,
                    one,
                    checkpoint,
                    config,
                    args.allow_code_in_checkpoints,
                )
                for checkpoint in checkpoints
            )
            is_one = len(members) == 1
            candidates.append(
                members[0] if is_one else EnsembleCandidate(name, members)
            )
    if not any(one.hook for one in candidates):
        # raises for flags that no model takes
        set_references(
            candidates[0].cfg, _with_number(args, args.num_references)
        )
    return named(candidates)


def split_models(words: Sequence[str]) -> list[tuple[str, list[str]]]:
    """Split the arguments into a config and its checkpoints for each model.

    Args:
        words (Sequence[str]): Configs and checkpoints. ``+`` joins the
            checkpoints of an ensemble.

    Raises:
        ValueError: A model lacks a config or a checkpoint.

    Example:
        >>> split_models(['a.py', '1.pth', '+', '2.pth', 'b.py', '3.pth'])
        [('a.py', ['1.pth', '2.pth']), ('b.py', ['3.pth'])]
    """
    models: list[list[str]] = []
    joins = False
    for word in words:
        if word == '+':
            if joins or not models or len(models[-1]) < 2:
                break
            joins = True
        elif joins or (models and len(models[-1]) == 1):
            models[-1].append(word)
            joins = False
        else:
            models.append([word])
    else:
        if not joins and all(len(one) > 1 for one in models):
            return [(config, checkpoints) for config, *checkpoints in models]
    raise ValueError(
        'Expected a config and a checkpoint for every model, but got '
        f'{len(words)} arguments: {" ".join(words)}. Name both, one after the '
        'other; for an ensemble `CONFIG CHECKPOINT + CHECKPOINT`.'
    )


def _with_references(cfg: Config, args) -> list[Config]:
    """The config with each K of the command line; a plain one unchanged."""
    if not reference_hooks(cfg):
        return [cfg]
    configs = []
    for k in args.num_references or [None]:
        configs.append(copy.deepcopy(cfg))
        set_references(configs[-1], _with_number(args, k))
    return configs


def _with_number(args: argparse.Namespace, k) -> argparse.Namespace:
    return argparse.Namespace(
        **{**vars(args), 'num_references': k, 'tta': False}
    )


def main() -> None:
    """Run the command; when interrupted, print one line and no traceback.

    The exit status is 1 if any measurement failed, after the report is
    written. Missing sets do not count as failures.
    """
    import_from_here()
    try:
        results = evaluate()
    except KeyboardInterrupt:
        sys.exit('Stopped. Run the same command again and it goes on.')
    if results['failed']:
        sys.exit(1)
