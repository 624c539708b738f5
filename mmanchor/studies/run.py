"""Running the cells of a study: check, train, measure, and continue later.

Everything that is finished is on disk, so that the same command continues
where it was stopped, and several processes can share one work dir.
"""

import contextlib
import copy
import gc
import io
import itertools
import json
import os
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import torch
from mmengine.hooks import Hook
from mmengine.optim import AmpOptimWrapper, OptimWrapper, build_optim_wrapper
from mmengine.registry import Registry
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop
from mmpretrain.registry import (
    DATA_SAMPLERS,
    DATASETS,
    HOOKS,
    LOOPS,
    MODELS,
    OPTIM_WRAPPERS,
    PARAM_SCHEDULERS,
    TRANSFORMS,
)
from rich.console import Console
from rich.markup import escape
from torch.utils.benchmark import timer
from torch.utils.data import DataLoader

from ..engine import launch
from ..engine.resume import latest_checkpoint
from ..suite.images import check_clean_set
from ..suite.spec import Settings, load_suite
from ..utils.config import changes
from ..utils.console import progress_bars, write_json
from ..utils.locks import lock
from ..utils.names import check_arguments, named_arguments
from ..utils.provenance import commit, versions, without_folders
from .cells import (
    DONE,
    FAILED,
    STARTED,
    CellStore,
    StudyCell,
    Training,
    describe_changes,
    with_data_root,
)
from .landscape import measure_landscape
from .measure import Benchmark, make_corrupted_sets, measure_by_suite

# what can be repeated: changed cells, cells whose test sets were missing
REDO = ('changed', 'missing')


def check_unchanged(
    cells: Sequence[StudyCell], store: CellStore, redo: Sequence[str] = ()
) -> None:
    """Raise if stored cells belong to other settings than the present ones.

    With ``'changed'`` in ``redo``, such cells are repeated and not refused.

    Raises:
        ValueError: A cell was started or finished with other settings.
    """
    if 'changed' in redo:
        return
    different = []
    for cell in cells:
        record = store.get(cell)
        # a failed cell has no figures that could be mixed with others
        if (
            record is not None
            and record['state'] != FAILED
            and record['depends'] != cell.depends
        ):
            paths = changes(record['depends'], cell.depends)
            different.append(f'{cell}: {describe_changes(paths, 3)}')
    if not different:
        return
    lines = different[:5]
    if len(different) > 5:
        lines.append(f'and {len(different) - 5} more cells')
    raise ValueError(
        f'Expected the cells in {store.work_dir} to be of the study as it is '
        f'now, but {len(different)} of {len(cells)} are not. '
        + '. '.join(lines)
        + '. Name another folder with --work-dir, or add '
        '`--redo changed` to repeat these cells only.'
    )


def trainings_left(
    cells: Sequence[StudyCell], store: CellStore, redo: Sequence[str] = ()
) -> list[Training]:
    """The trainings that are left, one seed of each setting."""
    trainings: dict[str, Training] = {}
    for cell in cells:
        if not store.is_done(cell, redo) and any(
            one.checkpoint(store.work_dir) is None for one in cell.trainings
        ):
            trainings.setdefault(cell.setting.name, cell.training)
    return list(trainings.values())


class StudyRunner:
    """Trains and measures cells of a study.

    Args:
        cells (Sequence[StudyCell]): The cells.
        work_dir (Path): The study's work dir.
        data_root (str): The folder of the data sets.
        settings (Settings): Settings of the suite.
        console (Console): Where progress is shown.
        redo (Sequence[str]): See :data:`REDO`. Defaults to none.
        train_only (bool): Whether to stop before measuring. Defaults to
            False.

    Attributes:
        failed (Dict[str, str]): The reason of each cell that failed.
        elsewhere (List[str]): Cells that another process works on.
    """

    def __init__(
        self,
        cells: Sequence[StudyCell],
        work_dir: Path,
        data_root: str,
        settings: Settings,
        console: Console,
        redo: Sequence[str] = (),
        train_only: bool = False,
    ):
        self.cells, self.work_dir = list(cells), Path(work_dir)
        self.data_root, self.settings = data_root, settings
        self.console, self.redo = console, redo
        self.train_only = train_only
        self.store = CellStore(self.work_dir)
        self.benchmark = Benchmark(
            load_suite(cells[0].study.on.suite, data_root), settings, data_root
        )
        self.failed: dict[str, str] = {}
        self.elsewhere: list[str] = []
        self._training_share = 0.5  # of the time of a cell, for the bar

    def run(self, wait: bool = False) -> None:
        """Run the cells that are left, all settings of a seed before the next.

        Settings are compared seed by seed: so a study that is stopped early
        has complete pairs, which were trained on one machine.

        Args:
            wait (bool): Whether to wait for models that other processes
                train. Otherwise their cells come last. Defaults to False.

        Raises:
            FileNotFoundError: The clean test set is missing.
            ValueError: Stored cells have other settings, or a config cannot
                be trained.
        """
        check_unchanged(self.cells, self.store, self.redo)
        seeds = self.cells[0].study.seeds
        left = [
            cell
            for cell in self.cells
            if not self.store.is_done(cell, self.redo)
        ]
        left.sort(key=lambda cell: seeds.index(cell.seed))
        num_done = len(self.cells) - len(left)
        if left and not self.train_only:
            check_clean_set(self.benchmark.suite)
        check_trainable(
            trainings_left(self.cells, self.store, self.redo), self.data_root
        )
        with progress_bars(self.console) as bars:
            bars.speed_estimate_period = 3600.0  # cells differ in speed
            of_study = bars.add_task(
                escape(self.cells[0].study.title),
                total=len(self.cells),
                completed=num_done,
            )
            of_cell = bars.add_task('', total=1.0)

            def report(
                cell: StudyCell, what: str, share: float, cell_share: float
            ) -> None:
                bars.update(
                    of_cell,
                    description=escape(f'{what} {cell}'),
                    completed=share,
                )
                bars.update(of_study, completed=num_done + cell_share)

            if left and not self.train_only:
                make_corrupted_sets(
                    self.benchmark.suite,
                    self.settings.workers,
                    lambda what, share: bars.update(
                        of_cell, description=escape(what), completed=share
                    ),
                )
            for waits in (True,) if wait else (False, True):
                postponed = []
                for cell in left:
                    if not self._attempt(cell, report, waits):
                        postponed.append(cell)
                    elif str(cell) not in self.elsewhere:
                        num_done += 1
                        bars.update(of_study, completed=num_done)
                        self._log_progress(cell, num_done)
                left = postponed
            bars.update(of_cell, visible=False)

    def _log_progress(self, cell: StudyCell, num_done: int) -> None:
        """Print a line in log files, which show no bars."""
        if not self.console.is_terminal:
            self.console.print(
                escape(f'{num_done} of {len(self.cells)}: {cell}'),
                soft_wrap=True,
            )

    def _attempt(self, cell: StudyCell, report: Callable, wait: bool) -> bool:
        """Run a cell; return False if another process trains its model."""
        with lock(self.store.lock_path(cell)) as is_ours:
            if not is_ours:
                self.elsewhere.append(str(cell))
                return True
            # another process may have finished it in the meantime
            if self.store.is_done(cell, self.redo):
                return True
            try:
                return self._run_cell(cell, report, wait)
            except Exception as error:
                # one failed cell must not stop the others
                reason = f'{type(error).__name__}: {error}'
                problems = [dict(name='the model', reason=reason)]
                self.store.write(
                    cell, FAILED, failed=self._without_folders(problems)
                )
                self.store.write_traceback(cell, traceback.format_exc())
                self.failed[str(cell)] = reason
                self.console.print(
                    '[red]Failed:[/red] ' + escape(f'{cell}. {reason}')
                )
                return True

    def _run_cell(self, cell: StudyCell, report: Callable, wait: bool) -> bool:
        record = self.store.get(cell)
        if not self.train_only and (
            record is None or record['depends'] != cell.depends
        ):
            self.store.write(cell, STARTED)
        begin = timer()
        in_training = self._training_share
        checkpoints = []
        for i, training in enumerate(cell.trainings):

            def training_report(share: float) -> None:
                done = (i + share) / len(cell.trainings)
                report(cell, 'train', share, in_training * done)

            checkpoint = self._train(training, wait, training_report)
            if checkpoint is None:
                return False
            checkpoints.append(checkpoint)
        if self.train_only:  # writes no record, so the suite may still change
            return True
        trained = timer()
        measure = (
            measure_by_suite
            if cell.study.landscape is None
            else measure_landscape
        )
        result = measure(
            cell,
            checkpoints,
            self.benchmark,
            cell.training.folder(self.work_dir),
            lambda share: report(
                cell, 'measure', share, in_training + (1 - in_training) * share
            ),
        )
        times = dict(
            result.pop('times'),
            training_seconds=sum(
                one.seconds(self.work_dir) for one in cell.trainings
            ),
            training=round(trained - begin, 1),
            measuring=round(timer() - trained, 1),
        )
        self._training_share = times['training'] / max(
            times['training'] + times['measuring'], 1e-9
        )
        for part in ('failed', 'missing', 'unfitted'):
            result[part] = self._without_folders(result.get(part, []))
        self.store.write(
            cell,
            FAILED if result['failed'] else DONE,
            **result,
            trained=' + '.join(
                one.folder(Path()).as_posix() for one in cell.trainings
            ),
            versions=versions(),
            commit=commit(),
            device=self.settings.device,
            times=times,
        )
        for one in result['failed']:
            self.failed[str(cell)] = f'{one["name"]}: {one["reason"]}'
        return True

    def _without_folders(self, problems: list[dict]) -> list[dict]:
        """Remove this machine's folders from the reasons of problems."""
        roots = {str(self.work_dir): 'work_dir', self.data_root: 'data'}
        return [
            dict(one, reason=without_folders(one['reason'], roots))
            for one in problems
        ]

    def _train(
        self, training: Training, wait: bool, report: Callable[[float], None]
    ) -> str | None:
        """Train; return the checkpoint, or None if another process trains."""
        if (
            training.start is not None
            and self._train(training.start, wait, report) is None
        ):
            return None
        path = self.work_dir / 'locks' / f'training-{training.key}'
        with lock(path, wait) as is_ours:
            if not is_ours:
                return None
            return train_model(training, self.work_dir, self.data_root, report)


# training


def train_model(
    training: Training,
    work_dir: Path,
    data_root: str,
    report: Callable[[float], None],
) -> str:
    """Train a model as ``tools/train.py`` does, or continue its training.

    Returns:
        str: The last checkpoint.

    Raises:
        ValueError: The loss is not finite; see also
            :func:`~mmanchor.engine.launch.train`.
    """
    finished = training.checkpoint(work_dir)
    if finished is not None:
        return finished
    folder = training.folder(work_dir)
    folder.mkdir(parents=True, exist_ok=True)
    cfg = with_data_root(training.cfg, data_root)
    if training.start is not None:
        cfg.load_from = training.start.checkpoint(work_dir)
    # MMEngine keeps loggers by this name, so each training needs its own
    cfg.experiment_name = f'{training.key}_{os.getpid()}_{next(_COUNT)}'
    path = folder / 'config.py'
    cfg.dump(path)
    flags = ['--work-dir', str(folder), '--no-validate']
    if not torch.cuda.is_available():
        flags.append('--no-pin-memory')  # PyTorch would warn about it
    # without a checkpoint, --resume would ignore `load_from`
    if latest_checkpoint(str(folder)) is not None:
        flags.append('--resume')
    timer = _EpochTimer(folder)
    with contextlib.redirect_stdout(DiscardedOutput()):  # logs are files
        launch.train([str(path), *flags], [_TrainingMonitor(report), timer])
    # a cycle of references keeps the workers of the data loader alive
    gc.collect()
    last = Path(latest_checkpoint(str(folder)))
    write_json(
        dict(
            name=training.name,
            file=last.name,
            commit=commit(),
            seconds=timer.seconds,
        ),
        folder / 'trained.json',
    )
    return str(last)


_COUNT = itertools.count()


class _TrainingMonitor(Hook):
    """Reports the progress of training, and stops it if the loss diverges."""

    priority = 'VERY_LOW'

    def __init__(self, report: Callable[[float], None]):
        self.report = report

    def after_train_iter(
        self, runner, batch_idx, data_batch=None, outputs=None
    ) -> None:
        self.report((runner.iter + 1) / max(1, runner.max_iters))
        # not in each iteration: reading the loss waits for the GPU
        if self.every_n_train_iters(runner, 50) or self.is_last_train_iter(
            runner
        ):
            loss = float(torch.as_tensor(outputs['loss']).detach())
            if not abs(loss) < float('inf'):
                raise ValueError(
                    f'Expected a finite loss, but got {loss} at iteration '
                    f'{runner.iter + 1}: training diverged. Lower the '
                    'learning rate, say, or leave the setting out.'
                )


class _EpochTimer(Hook):
    """Adds up the seconds of epochs, over all processes that trained them.

    The clock waits for a GPU, which may be behind by several steps. An epoch
    that was interrupted and repeated counts once.
    """

    def __init__(self, folder: Path):
        self.path = folder / 'seconds.json'

    @property
    def seconds(self) -> float:
        """The sum over all epochs so far."""
        return round(sum(self._by_epoch().values()), 1)

    def _by_epoch(self) -> dict:
        if not self.path.exists():
            return {}
        return json.loads(self.path.read_text(encoding='utf-8'))

    def before_train_epoch(self, runner) -> None:
        self.epoch, self.begin = str(runner.iter), timer()

    def after_train_epoch(self, runner) -> None:
        if runner.rank == 0:
            passed = timer() - self.begin
            write_json({**self._by_epoch(), self.epoch: passed}, self.path)


class DiscardedOutput(io.TextIOBase):
    """A stream that discards what is printed.

    Loggers keep the stream of their first message, so it is never closed.
    """

    def write(self, text: str) -> int:
        return len(text)


# checking configs before training

# keys that the host removes before it builds a class
_NOT_ARGUMENTS = {'type', '_scope_', 'priority'}


def check_trainable(
    trainings: Iterable[Training], data_root: str, here: bool = True
) -> None:
    """Raise for mistakes in configs that training would find hours later.

    Models, optimizers, schedulers and wrappers of the training set are built.
    Of loops, hooks, data sets, samplers and transforms, only the names of
    arguments are checked, because their data may be missing here. If this
    machine is not to train, mixed precision is not refused for want of a GPU.

    Raises:
        ValueError: A config has an argument that its class does not take, or
            a value that the class refuses.
    """
    checked: set[str] = set()
    for training in _with_starts(trainings):
        cfg = with_data_root(training.cfg, data_root)
        for names, check in _CHECKS.items():
            parts = {
                name: copy.deepcopy(cfg[name])
                for name in names
                if cfg.get(name)
            }
            # settings share most parts of their configs
            if repr(parts) in checked:
                continue
            checked.add(repr(parts))
            try:
                if not here and check is _check_model:
                    parts.update(optim_wrapper=_without_amp(**parts))
                with contextlib.redirect_stdout(DiscardedOutput()):
                    check(**parts)
            except Exception as error:  # classes raise errors of any kind
                reason = str(error)
                raise ValueError(
                    f'Expected {training.name} to have a config that can be '
                    f'trained, but got, of `{"`, `".join(parts)}`: {reason}'
                    + ('' if reason.endswith(('.', '?')) else '.')
                    + ' Nothing was trained; change the study.'
                ) from error


def _with_starts(trainings: Iterable[Training]) -> Iterator[Training]:
    for one in trainings:
        while one is not None:
            yield one
            one = one.start


def _check_preprocessor(data_preprocessor: dict | None = None) -> None:
    if data_preprocessor:
        MODELS.build({'type': 'ClsDataPreprocessor', **data_preprocessor})


def _check_optim_wrapper(optim_wrapper: dict) -> None:
    kind = _class({'type': 'OptimWrapper', **optim_wrapper}, OPTIM_WRAPPERS)
    _check_names(optim_wrapper, kind, 'constructor', 'paramwise_cfg')


def _check_model(model: dict, optim_wrapper: dict, param_scheduler=()) -> None:
    """Build the model with its optimizer, which needs the parameters."""
    optimizer = build_optim_wrapper(MODELS.build(model), optim_wrapper)
    if isinstance(param_scheduler, dict):
        param_scheduler = [param_scheduler]
    for one in param_scheduler:
        one.pop('convert_to_iter_based', None)
        PARAM_SCHEDULERS.build(dict(one, optimizer=optimizer))


def _without_amp(optim_wrapper: dict, **_) -> dict:
    """The optimizer wrapper without the arguments of mixed precision.

    Its class can be built on a GPU only.
    """
    kind = _class({'type': 'OptimWrapper', **optim_wrapper}, OPTIM_WRAPPERS)
    if kind is not AmpOptimWrapper:
        return optim_wrapper
    known = {*named_arguments(OptimWrapper), 'constructor', 'paramwise_cfg'}
    return {
        name: value for name, value in optim_wrapper.items() if name in known
    }


def _check_loop(train_cfg: dict) -> None:
    by_epoch = train_cfg.pop('by_epoch', True)
    default = EpochBasedTrainLoop if by_epoch else IterBasedTrainLoop
    kind = _class(train_cfg, LOOPS) if 'type' in train_cfg else default
    _check_names(train_cfg, kind)


def _check_hooks(default_hooks: dict | None = None, custom_hooks=()) -> None:
    for one in (*(default_hooks or {}).values(), *custom_hooks):
        if isinstance(one, dict):
            _check_names(one, _class(one, HOOKS))


def _check_loader(train_dataloader: dict) -> None:
    _check_names(train_dataloader, DataLoader, 'num_batch_per_epoch')
    for name in ('sampler', 'batch_sampler'):
        one = train_dataloader.get(name)
        if isinstance(one, dict):
            _check_names(one, _class(one, DATA_SAMPLERS))
    _check_dataset(train_dataloader['dataset'])


def _check_dataset(config: dict) -> None:
    """Check names, and build a wrapper if the data inside it is here."""
    _check_names(config, _class(config, DATASETS))
    for step in config.get('pipeline') or ():
        if isinstance(step, dict):
            _check_names(step, _class(step, TRANSFORMS))
    for one in config.get('datasets') or ():
        _check_dataset(one)
    inner = config.get('dataset')
    if not isinstance(inner, dict):
        return
    _check_dataset(inner)
    try:
        dataset = DATASETS.build(inner)
    except Exception:  # training reports what is wrong with its data
        return
    DATASETS.build(dict(config, dataset=dataset))


def _class(config: dict, registry: Registry) -> Callable | None:
    """The class of a config; None if its library is not imported yet."""
    kind = config.get('type')
    return registry.get(kind) if isinstance(kind, str) else kind


def _check_names(config: dict, kind: Callable | None, *others: str) -> None:
    if kind is not None:
        check_arguments(config, kind, others=(*others, *_NOT_ARGUMENTS))


_CHECKS: dict[tuple[str, ...], Callable] = {
    ('data_preprocessor',): _check_preprocessor,
    ('optim_wrapper',): _check_optim_wrapper,
    ('model', 'optim_wrapper', 'param_scheduler'): _check_model,
    ('train_cfg',): _check_loop,
    ('default_hooks', 'custom_hooks'): _check_hooks,
    ('train_dataloader',): _check_loader,
}
