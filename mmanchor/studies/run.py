"""The cells of a grid, one after another, going on where it was stopped."""

import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from ..suite.images import check_clean_set
from ..suite.settings import Settings
from ..suite.spec import load_suite
from ..utils.config import changes
from ..utils.console import progress_bars
from ..utils.locks import lock
from ..utils.provenance import commit, versions, without_folders
from .cells import (
    DONE,
    FAILED,
    STARTED,
    CellStore,
    StudyCell,
    describe_changes,
)
from .checks import check_trainable
from .landscape import measure_landscape
from .measure import Bench, make_sets, measure_by_suite
from .training import Training

REDO = ('changed', 'missing')


@dataclass
class Ran:
    """What became of the cells.

    Attributes:
        failed (Dict[str, str]): Why, by cell.
        elsewhere (List[str]): Cells that other processes work on.
    """

    failed: dict[str, str] = field(default_factory=dict)
    elsewhere: list[str] = field(default_factory=list)


def check_unchanged(
    cells: Sequence[StudyCell], kept: CellStore, redo: Sequence[str] = ()
) -> None:
    """Refuse to mix cells of other settings with those of now.

    Raises:
        ValueError: One was made with others, and is not to be done again.
    """
    if 'changed' in redo:
        return
    different = {}
    for cell in cells:
        found = kept.get(cell)
        # of what failed there are no figures to mix
        if (
            found is not None
            and found['state'] != FAILED
            and found['depends'] != cell.depends
        ):
            different[str(cell)] = changes(found['depends'], cell.depends)
    if not different:
        return
    lines = []
    for cell, paths in list(different.items())[:5]:
        lines.append(f'{cell}: {describe_changes(paths, 3)}')
    if len(different) > 5:
        lines.append(f'and {len(different) - 5} more cells')
    raise ValueError(
        f'Expected the cells in {kept.work_dir} to be of the study as it is '
        f'now, but {len(different)} of {len(cells)} are not. '
        + '. '.join(lines)
        + '. Name another folder with --work-dir, or add '
        '`--redo changed` to do these again, and these alone.'
    )


def to_train(
    cells: Sequence[StudyCell], kept: CellStore, redo: Sequence[str] = ()
) -> list[Training]:
    """What is left to train, one seed of each setting."""
    found = {
        cell.setting.name: cell.training
        for cell in reversed(cells)
        if not kept.is_done(cell, redo)
        and any(
            one.checkpoint(kept.work_dir) is None for one in cell.trainings
        )
    }
    return list(found.values())[::-1]


class Grid:
    """Does cells of a study.

    Args:
        cells (Sequence[StudyCell]): Which.
        work_dir (Path): Where all is kept.
        data_root (str): Where data sets are.
        settings (Settings): Of the suite.
        console (Console): Where bars are shown.
        redo (Sequence[str]): What is done again: ``'changed'`` cells, those
            with ``'missing'`` test sets. Defaults to none.
        train_only (bool): Whether to stop before measuring. Defaults to
            False.
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
        self.kept = CellStore(self.work_dir)
        self.bench = Bench(
            load_suite(cells[0].study.on.suite, data_root), settings, data_root
        )
        self._share = 0.5  # of a cell's time, that training takes

    def run(self, wait: bool = False) -> Ran:
        """Do what is left, all settings of a seed before the next seed.

        Settings are compared seed by seed: what is stopped early has whole
        pairs, trained on one machine.

        Args:
            wait (bool): Whether to wait for models that other processes
                train. Otherwise their cells come last. Defaults to False.

        Raises:
            FileNotFoundError: The clean test set is not there.
            ValueError: Cells were made with other settings, or the config of
                one can't be trained.
        """
        check_unchanged(self.cells, self.kept, self.redo)
        if not self.train_only and not all(
            self.kept.is_done(cell, self.redo) for cell in self.cells
        ):
            check_clean_set(self.bench.suite)
        check_trainable(
            to_train(self.cells, self.kept, self.redo), self.data_root
        )
        ran = Ran()
        seeds = self.cells[0].study.seeds
        left = sorted(
            (
                cell
                for cell in self.cells
                if not self.kept.is_done(cell, self.redo)
            ),
            key=lambda cell: seeds.index(cell.seed),
        )
        with progress_bars(self.console) as bars:
            bars.speed_estimate_period = 3600.0  # cells differ in speed
            whole = bars.add_task(
                escape(self.cells[0].study.title),
                total=len(self.cells),
                completed=len(self.cells) - len(left),
            )
            now = bars.add_task('', total=1.0)

            def report(
                cell: StudyCell, what: str, share: float, of_cell: float
            ) -> None:
                bars.update(
                    now, description=escape(f'{what} {cell}'), completed=share
                )
                bars.update(whole, completed=behind + of_cell)

            if left and not self.train_only:
                make_sets(
                    self.bench.suite,
                    self.settings.workers,
                    lambda what, share: bars.update(
                        now, description=escape(what), completed=share
                    ),
                )
            behind = len(self.cells) - len(left)
            for patient in (True,) if wait else (False, True):
                put_off = []
                for cell in left:
                    if not self._attempt(cell, ran, report, patient):
                        put_off.append(cell)
                    elif str(cell) not in ran.elsewhere:
                        behind += 1
                        bars.update(whole, completed=behind)
                        self._tell(cell, behind)
                left = put_off
            bars.update(now, visible=False)
        return ran

    def _tell(self, cell: StudyCell, behind: int) -> None:
        """A line for logs, which show no bars."""
        if not self.console.is_terminal:
            self.console.print(
                escape(f'{behind} of {len(self.cells)}: {cell}'),
                soft_wrap=True,
            )

    def _attempt(
        self, cell: StudyCell, ran: Ran, report: Callable, wait: bool
    ) -> bool:
        """Do a cell; False where its model is being trained elsewhere."""
        with lock(self.kept.lock_path(cell)) as mine:
            if not mine:
                ran.elsewhere.append(str(cell))
                return True
            if self.kept.is_done(
                cell, self.redo
            ):  # by another process, by now
                return True
            try:
                return self._do(cell, ran, report, wait)
            except Exception as error:
                # whatever one cell dies of, others may live
                reason = f'{type(error).__name__}: {error}'
                self.kept.keep(
                    cell,
                    FAILED,
                    failed=self._portable(
                        [dict(name='the model', reason=reason)]
                    ),
                )
                self.kept.write_traceback(cell, traceback.format_exc())
                ran.failed[str(cell)] = reason
                self.console.print(
                    '[red]Failed:[/red] ' + escape(f'{cell}. {reason}')
                )
                return True

    def _do(
        self, cell: StudyCell, ran: Ran, report: Callable, wait: bool
    ) -> bool:
        found = self.kept.get(cell)
        if not self.train_only and (
            found is None or found['depends'] != cell.depends
        ):
            self.kept.keep(cell, STARTED)
        begun = time.time()
        checkpoints = []
        for i, training in enumerate(cell.trainings):
            checkpoint = self._train(
                training,
                wait,
                lambda what, share: report(
                    cell,
                    what,
                    share,
                    self._share * (i + share) / len(cell.trainings),
                ),
            )
            if checkpoint is None:
                return False
            checkpoints.append(checkpoint)
        if self.train_only:  # so that the suite may still change
            return True
        trained = time.time()
        measure = (
            measure_by_suite
            if cell.study.landscape is None
            else measure_landscape
        )
        found = measure(
            cell,
            checkpoints,
            self.bench,
            cell.training.folder(self.work_dir),
            lambda share: report(
                cell, 'measure', share, self._share + (1 - self._share) * share
            ),
        )
        times = dict(
            found.pop('times'),
            training_seconds=sum(
                one.seconds(self.work_dir) for one in cell.trainings
            ),
            training=round(trained - begun, 1),
            measuring=round(time.time() - trained, 1),
        )
        self._share = times['training'] / max(
            times['training'] + times['measuring'], 1e-9
        )
        for part in ('failed', 'missing', 'unfitted'):
            found[part] = self._portable(found.get(part, []))
        self.kept.keep(
            cell,
            FAILED if found['failed'] else DONE,
            **found,
            trained=' + '.join(
                one.folder(Path()).as_posix() for one in cell.trainings
            ),
            versions=versions(),
            commit=commit(),
            device=self.settings.device,
            times=times,
        )
        for one in found['failed']:
            ran.failed[str(cell)] = f'{one["name"]}: {one["reason"]}'
        return True

    def _portable(self, problems: list[dict]) -> list[dict]:
        """Problems without where this machine has its files."""
        roots = {str(self.work_dir): 'work_dir', self.data_root: 'data'}
        return [
            dict(one, reason=without_folders(one['reason'], roots))
            for one in problems
        ]

    def _train(self, training: Training, wait: bool, report: Callable):
        """Its checkpoint; None where another process trains it."""
        if (
            training.start is not None
            and self._train(training.start, wait, report) is None
        ):
            return None
        path = self.work_dir / 'locks' / f'training-{training.key}'
        with lock(path, wait) as mine:
            return (
                mine
                and training.train(
                    self.work_dir,
                    self.data_root,
                    lambda share: report('train', share),
                )
                or None
            )
