"""Trains and tests from the command line: ``train.py`` and ``test.py``."""

import argparse
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import mmengine
from mmengine.config import Config, ConfigDict
from mmengine.dist import is_main_process
from mmengine.evaluator import DumpResults
from mmengine.hooks import Hook
from mmengine.registry import RUNNERS
from mmengine.runner import Runner

from ..checkpoints.model_loading import WholeModelHook
from ..checkpoints.safe_loading import (
    FLAG_ADVICE,
    add_trust_flag,
    checkpoint_loading,
)
from ..checkpoints.verification import (
    PlainModelHook,
    check_checkpoint,
    check_pretrained,
    check_pretrained_fits,
    is_first_process,
)
from ..models import AnchoredImageClassifier, AnchoringDataPreprocessor
from ..utils.config import read_config, type_name
from ..utils.files import check_folder, check_out, user_path, whole_files
from ..utils.locks import NoLocks, only_run
from .cli import add_cfg_options
from .distributed import check_whole_weights, init_distributed
from .hooks.k_reference_hook import KReferenceHook
from .reference_flags import add_reference_flags, set_references
from .reference_source import anchored_model
from .resume import (
    check_resumable,
    fault_tolerance,
    latest_checkpoint,
    resume_command,
)

LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')
METRIC_FILES = '.json', '.yaml', '.yml', '.pkl', '.pickle'


def train_parser() -> argparse.ArgumentParser:
    """Make the parser of ``tools/train.py``, with MMPretrain's flags."""
    parser = argparse.ArgumentParser(
        description='Train a model from a config, anchored or standard.'
    )
    parser.add_argument('config', type=user_path, help='config file')
    parser.add_argument(
        '--resume',
        type=user_path,
        nargs='?',
        const='auto',
        metavar='CHECKPOINT',
        help='resume from this checkpoint, or from the latest one in the work '
        'dir if none is named',
    )
    parser.add_argument(
        '--no-validate', action='store_true', help='do not validate'
    )
    parser.add_argument(
        '--auto-scale-lr',
        action='store_true',
        help='scale the learning rate by the ratio of the batch size to that '
        'of the config',
    )
    parser.add_argument(
        '--no-persistent-workers',
        action='store_true',
        help='start new data-loading workers in every epoch',
    )
    _add_common_flags(parser)
    return parser


def test_parser() -> argparse.ArgumentParser:
    """Make the parser of ``tools/test.py``, with MMPretrain's flags."""
    parser = argparse.ArgumentParser(
        description='Test a checkpoint, anchored or standard.'
    )
    parser.add_argument('config', type=user_path, help='config file')
    parser.add_argument('checkpoint', type=user_path, help='checkpoint file')
    add_reference_flags(parser)
    parser.add_argument(
        '--out', type=user_path, help='file to write results to (.pkl, .json)'
    )
    parser.add_argument(
        '--out-item',
        choices=['metrics', 'pred'],
        default='pred',
        help='what to write to --out (default: pred, as .pkl)',
    )
    parser.add_argument(
        '--tta',
        action='store_true',
        help="test-time augmentation: the config's `tta_model` and "
        '`tta_pipeline`, or averaging over a horizontal flip',
    )
    _add_common_flags(parser)
    return parser


def _add_common_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        '--work-dir',
        type=user_path,
        help='folder for logs and checkpoints (default: work_dirs/CONFIG)',
    )
    parser.add_argument(
        '--amp', action='store_true', help='automatic mixed precision'
    )
    parser.add_argument(
        '--no-pin-memory', action='store_true', help='do not pin memory'
    )
    add_trust_flag(parser)
    add_cfg_options(parser)
    parser.add_argument(
        '--launcher',
        choices=['none', 'pytorch', 'slurm', 'mpi'],
        default='none',
        help='how the processes of a distributed run were started',
    )
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0)


def train(
    argv: Sequence[str] | None = None, hooks: Sequence[Hook] = ()
) -> None:
    """Train a model according to command-line arguments.

    Args:
        hooks (Sequence[Hook]): Hooks to add to those of the config, such as
            one that moves a progress bar. Defaults to none.

    Raises:
        FileNotFoundError: The config or a checkpoint does not exist.
        OSError: The disk is full.
        TypeError: The data preprocessor anchors and the model does not.
        ValueError: A checkpoint is damaged, contains code or is of another
            architecture; a pretrained file is missing; the work dir can't be
            written to, or another training writes to it; ``--amp`` can't
            replace the optimizer wrapper; or no hook fills the reference
            bank.
    """
    args = train_parser().parse_args(argv)
    with checkpoint_loading(args.allow_code_in_checkpoints, FLAG_ADVICE):
        _train(args, argv, hooks)


def _train(
    args: argparse.Namespace, argv: Sequence[str] | None, hooks: Sequence[Hook]
) -> None:
    cfg = _load_config(args)
    if args.no_validate:
        cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    if args.amp:
        wrapper = type_name({'type': 'OptimWrapper', **cfg.optim_wrapper})
        if wrapper not in ('OptimWrapper', 'AmpOptimWrapper'):
            raise ValueError(
                'Expected an OptimWrapper for --amp to replace, '
                f'but got {wrapper}. Drop --amp.'
            )
        cfg.optim_wrapper.type = 'AmpOptimWrapper'
        cfg.optim_wrapper.setdefault('loss_scale', 'dynamic')
    if args.auto_scale_lr:
        cfg.setdefault('auto_scale_lr', {})['enable'] = True
    if args.resume:
        cfg.resume = True
        cfg.load_from = None if args.resume == 'auto' else args.resume
    start = cfg.get('load_from')
    if start is None and cfg.get('resume'):
        # Name the checkpoint, so that MMEngine does not choose one itself.
        start = cfg.load_from = latest_checkpoint(cfg.work_dir)
    if start is not None and cfg.get('resume'):
        check_resumable(start, cfg.work_dir, argv)
    elif start is not None:
        check_checkpoint(start)
    check_pretrained(cfg.model)
    if args.no_persistent_workers:
        for name in LOADERS:
            if cfg.get(name):
                cfg[name].persistent_workers = False
    check_folder(cfg.work_dir, 'a work dir', '--work-dir')
    with _lock_work_dir(cfg.work_dir):
        runner = build_runner(cfg)
        for hook in hooks:
            runner.register_hook(hook)
        check_anchoring(runner)
        model = getattr(runner.model, 'module', runner.model)
        if isinstance(model, AnchoredImageClassifier):
            check_pretrained_fits(model, cfg.model)
        with fault_tolerance(runner, f'`{resume_command(argv)}`'):
            runner.train()


def check_anchoring(runner: Runner) -> None:
    """Check that a runner has all parts of anchored training.

    Raises:
        TypeError: The data preprocessor anchors and the model does not.
        ValueError: The model anchors and no hook fills its reference bank.
    """
    model = runner.model
    model = getattr(model, 'module', model)
    if isinstance(
        getattr(model, 'data_preprocessor', None), AnchoringDataPreprocessor
    ):
        anchored_model(runner)
        if not any(isinstance(hook, KReferenceHook) for hook in runner.hooks):
            raise ValueError(
                'Expected `KReferenceHook` in `custom_hooks` to fill the '
                'reference bank of an anchored model, but there is none. Add '
                "dict(type='KReferenceHook')."
            )


@contextmanager
def _lock_work_dir(work_dir: str) -> Iterator[None]:
    """Lock a work dir: two trainings would remove each other's files."""
    with ExitStack() as stack:
        if is_first_process():
            try:
                stack.enter_context(
                    only_run(Path(work_dir), 'name another with --work-dir')
                )
            except NoLocks as error:  # Train without a lock.
                warnings.warn(str(error))
        yield


def test(argv: Sequence[str] | None = None) -> dict:
    """Test a checkpoint according to command-line arguments.

    Raises:
        FileNotFoundError: The config or the checkpoint does not exist.
        ValueError: The checkpoint is damaged, contains code, lacks weights of
            the model or orders the classes differently than the test set; the
            work dir can't be written to; or flags on references are given,
            but the config has no ``KReferenceHook``.
    """
    parser = test_parser()
    args = parser.parse_args(argv)
    writes_predictions = args.out_item == 'pred'
    suffix = Path(args.out or '').suffix
    if args.out and writes_predictions and suffix not in ('.pkl', '.pickle'):
        parser.error(
            '--out with predictions has to end in .pkl, but got '
            f'{args.out}; --out-item metrics writes .json'
        )
    if args.out and not writes_predictions and suffix not in METRIC_FILES:
        parser.error(
            '--out with metrics has to end in .json, .yaml or .pkl, '
            f'but got {args.out}'
        )
    if args.out:
        check_out(args.out)
    with checkpoint_loading(args.allow_code_in_checkpoints, FLAG_ADVICE):
        return _test(args)


def _test(args: argparse.Namespace) -> dict:
    cfg = _load_config(args)
    check_checkpoint(args.checkpoint)
    cfg.load_from = args.checkpoint
    set_references(cfg, args)
    if args.amp:
        cfg.test_cfg.fp16 = True
    if args.tta:
        _enable_tta(cfg)
    runner = build_runner(cfg)
    runner.register_hook(WholeModelHook(args.checkpoint))
    writes_predictions = args.out_item == 'pred'
    if args.out and writes_predictions:
        runner.test_evaluator.metrics.append(
            DumpResults(out_file_path=args.out)
        )
    metrics = runner.test()
    if args.out and not writes_predictions and is_main_process():
        out = Path(args.out)
        with whole_files(out.parent) as partial:
            mmengine.dump(metrics, partial / out.name)
    return metrics


def build_runner(cfg: Config) -> Runner:
    """Build the runner of a config.

    Args:
        cfg (Config): The config, with ``work_dir``. Its ``runner_type``
            defaults to MMEngine's runner.

    Raises:
        ValueError: The work dir can't be written to, the process was not
            started by the config's launcher, or the runner splits weights
            between processes.
    """
    check_folder(cfg.work_dir, 'a work dir', '--work-dir')
    init_distributed(cfg)
    if 'runner_type' in cfg:
        runner = RUNNERS.build(cfg)
    else:
        runner = Runner.from_cfg(cfg)
    check_whole_weights(runner)
    runner.register_hook(PlainModelHook())
    return runner


def _load_config(args: argparse.Namespace) -> Config:
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    cfg = read_config(args.config, args.cfg_options)
    for name in LOADERS:
        if cfg.get(name):
            cfg[name] = _loader_defaults(cfg[name], args.no_pin_memory)
    cfg.launcher = args.launcher
    # Ranks wait so many seconds for one that died; MMEngine's default is 1800.
    dist_cfg = cfg.setdefault('env_cfg', {}).setdefault('dist_cfg', {})
    dist_cfg.setdefault('timeout', 600)
    if args.work_dir:
        cfg.work_dir = args.work_dir
    elif not cfg.get('work_dir'):
        cfg.work_dir = os.path.join('work_dirs', Path(args.config).stem)
    return cfg


def _loader_defaults(loader: dict, no_pin_memory: bool) -> ConfigDict:
    """Add the defaults that MMPretrain's tools give a data loader."""
    defaults = dict(
        pin_memory=True,
        persistent_workers=loader.get('num_workers', 0) > 0,
        collate_fn=dict(type='default_collate'),
    )
    loader = ConfigDict({**defaults, **loader})
    if no_pin_memory:
        loader.pin_memory = False
    return loader


def _enable_tta(cfg: Config) -> None:
    cfg.setdefault('tta_model', dict(type='mmpretrain.AverageClsScoreTTA'))
    if 'tta_pipeline' not in cfg:
        *steps, pack = cfg.test_dataloader.dataset.pipeline
        flips = [dict(type='RandomFlip', prob=float(flip)) for flip in (0, 1)]
        cfg.tta_pipeline = [
            *steps,
            dict(type='TestTimeAug', transforms=[flips, [pack]]),
        ]
    cfg.model = ConfigDict(**cfg.tta_model, module=cfg.model)
    cfg.test_dataloader.dataset.pipeline = cfg.tta_pipeline
