"""Cells of a grid, and what is kept of each."""

import copy
import functools
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmpretrain.registry import HOOKS

from ..suite.spec import load_suite
from ..utils.config import reference_hooks
from ..utils.console import write_json
from ..utils.files import whole_files
from ..utils.locks import is_locked
from ..utils.names import did_you_mean
from .slug import slug
from .spec import Ground, Setting, Study
from .training import Training, plain, training_of

DONE, FAILED, STARTED = 'done', 'failed', 'started'
# what a cell's file has, before it is done and afterwards
_KEYS = {
    False: {'state', 'depends'},
    True: {'state', 'depends', 'model', 'missing', 'times', 'versions'},
}


@dataclass(frozen=True)
class StudyCell:
    """One setting with one seed.

    Args:
        study (Study): Of which it is a cell.
        number (int): In the grid, from 0 on.
        setting (Setting): Its setting.
        seed (int): Its seed.
        training (Training): What it is trained with.
        others (Tuple[Training, ...]): Of an ensemble, those of the other
            members. Defaults to none.
    """

    study: Study
    number: int
    setting: Setting
    seed: int
    training: Training
    others: tuple[Training, ...] = ()

    def __str__(self) -> str:
        return f'{self.setting.name}, seed {self.seed}'

    @property
    def file_name(self) -> str:
        """What its files are called."""
        return f'{slug(self.setting.name)}_seed{self.seed}'

    @property
    def trainings(self) -> tuple[Training, ...]:
        """What its models are trained with; several of an ensemble."""
        return (self.training, *self.others)

    @cached_property
    def test_config(self) -> Config:
        """Its config, with references used as the study says."""
        return self.test_config_of(self.training)

    def test_config_of(self, training: Training) -> Config:
        """The same for one member of an ensemble."""
        cfg = copy.deepcopy(training.cfg)
        test = {**self.study.test, **self.setting.test}
        for hook in reference_hooks(cfg):
            hook.update(copy.deepcopy(test))
            if 'select' in test or 'source' in test:
                hook['redraw'] = True
        return cfg

    @cached_property
    def depends(self) -> dict:
        """All that decides what is found, as JSON has it."""
        found = dict(training=self.training.depends)
        if self.others:  # the same but for the seed
            found['ensemble'] = [
                one.cfg.randomness.seed for one in self.trainings
            ]
        hooks = reference_hooks(self.test_config)
        if hooks:
            found['references'] = plain(hooks[0])
        found['suite'] = _of_suite(self.study.on.suite)
        found['settings'] = plain(suite_settings(self.study.on))
        if self.study.landscape is not None:
            found['landscape'] = dict(
                plain(asdict(self.study.landscape)), directions='by weight'
            )  # how they are drawn
            found['shifted'] = self.study.on.shifted
        return found


class CellStore:
    """What is known of a study's cells, in its folder.

    Args:
        work_dir (Path): Of the study.
    """

    def __init__(self, work_dir: Path):
        self.work_dir = Path(work_dir)

    def path(self, cell: StudyCell) -> Path:
        """The file of a cell."""
        return self.work_dir / 'cells' / f'{cell.file_name}.json'

    def lock_path(self, cell: StudyCell) -> Path:
        """What the process holds that works on a cell."""
        return self.work_dir / 'locks' / cell.file_name

    def get(self, cell: StudyCell) -> dict | None:
        """What is kept of a cell; None before it was started.

        A damaged file counts as none, so that the cell is measured again.
        """
        try:
            found = json.loads(self.path(cell).read_text(encoding='utf-8'))
            done = found['state'] == DONE
            return found if _KEYS[done] <= set(found) else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def keep(self, cell: StudyCell, state: str, **found: Any) -> None:
        """Keep what was found, whole or not at all."""
        path = self.path(cell)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(
            dict(
                state=state,
                study=cell.study.name,
                on=cell.study.on.name,
                setting=cell.setting.name,
                seed=cell.seed,
                depends=cell.depends,
                **found,
            ),
            path,
            indent=1,
        )

    def write_traceback(self, cell: StudyCell, text: str) -> None:
        """Write why a cell failed, beside the cells, for whoever mends it."""
        folder = self.work_dir / 'tracebacks'
        with whole_files(folder) as partial:
            (partial / f'{cell.file_name}.txt').write_text(
                text, encoding='utf-8'
            )

    def state(self, cell: StudyCell) -> str:
        """A cell's state, in a word or two."""
        if is_locked(self.lock_path(cell)):
            return 'running'
        found = self.get(cell)
        if found is None:
            trained = cell.training.checkpoint(self.work_dir)
            return 'to do' if trained is None else 'trained'
        if found['depends'] != cell.depends:
            return 'changed'
        if found['state'] == DONE and found.get('missing'):
            return 'done, sets missing'
        return found['state']

    def is_done(self, cell: StudyCell, redo: Sequence[str] = ()) -> bool:
        """Whether nothing is left to do.

        Args:
            cell (StudyCell): Any.
            redo (Sequence[str]): With ``'missing'`` it is not where a test
                set was missing. Defaults to none.
        """
        found = self.get(cell)
        return (
            found is not None
            and found['state'] == DONE
            and found['depends'] == cell.depends
            and not ('missing' in redo and found['missing'])
        )

    def finished(
        self, cells: Sequence[StudyCell]
    ) -> Iterator[tuple[StudyCell, dict]]:
        """Those that are done with the settings of now, and what was found."""
        for cell in cells:
            if self.is_done(cell):
                yield cell, self.get(cell)


def suite_settings(ground: Ground) -> dict:
    """How the suite is run: all that it can find in one pass."""
    return dict(
        dict(temperature=True, single_references=True), **ground.settings
    )


def all_cells(
    study: Study, cfg_options: dict | None = None
) -> list[StudyCell]:
    """The whole grid, settings in the outer loop.

    Raises:
        ValueError: A setting changes no place of its config, or uses
            references as they can't be.
    """
    pairs = [
        (setting, seed) for setting in study.settings for seed in study.seeds
    ]
    cells = []
    for i, (setting, seed) in enumerate(pairs):
        first, *others = [
            training_of(study, setting, one, cfg_options)
            for one in seeds_of(study, setting, seed)
        ]
        cells.append(StudyCell(study, i, setting, seed, first, tuple(others)))
    for cell in cells[:: len(study.seeds)]:
        _check_references(cell)
    return cells


def seeds_of(study: Study, setting: Setting, seed: int) -> Sequence[int]:
    """The seeds whose models answer in a cell: one, but for ensembles.

    Fewer than the ensemble has members where the study has no more, which
    :func:`select` refuses.
    """
    first = study.seeds.index(seed)
    return (study.seeds[first:] + study.seeds[:first])[: setting.ensemble]


def _check_references(cell: StudyCell) -> None:
    """Refuse what `KReferenceHook` would, before anything is trained."""
    for hook in reference_hooks(cell.test_config):
        try:
            HOOKS.build(hook)
        except (TypeError, ValueError) as error:
            raise ValueError(
                f'Expected `test` of {cell.setting.name!r}, or of the study, '
                f'to be arguments of KReferenceHook, but got: {error}'
            ) from error


def select(
    cells: Sequence[StudyCell], only: Sequence[str] | None
) -> list[StudyCell]:
    """The cells of some settings, or of all.

    Raises:
        ValueError: There is no such setting, or an ensemble among them has
            more members than the study has seeds.
    """
    names = list(dict.fromkeys(cell.setting.name for cell in cells))
    for name in only or ():
        if name not in names:
            raise ValueError(
                f'Expected --only to name settings, {", ".join(names)}, but '
                f'got {name!r}. {did_you_mean(name, names, "Change it.")}'
            )
    found = [cell for cell in cells if not only or cell.setting.name in only]
    for cell in found:
        if len(cell.trainings) < cell.setting.ensemble:
            raise ValueError(
                'Expected as many seeds as the ensemble '
                f'{cell.setting.name!r} has members, '
                f'{cell.setting.ensemble}, but got {len(cell.trainings)}. '
                'Add seeds, or leave the setting out with --only.'
            )
    return found


def describe_changes(paths: dict[str, tuple[Any, Any]], at_most: int) -> str:
    """What differs between a cell on disk and the study of now, in a line.

    Args:
        paths (Dict[str, Tuple[Any, Any]]): See
            :func:`~mmanchor.utils.config.changes`.
        at_most (int): How many of them to name.

    Example:
        >>> describe_changes({'a.b': (1, 2), 'c': (3, 4)}, 1)
        'a.b: 1 then, 2 now and 1 more'
    """
    lines = [
        f'{path}: {before!r} then, {now!r} now'
        for path, (before, now) in list(paths.items())[:at_most]
    ]
    more = f' and {len(paths) - at_most} more' if len(paths) > at_most else ''
    return '; '.join(lines) + more


@functools.cache
def _of_suite(name: str) -> dict:
    found = plain(asdict(load_suite(name, '')))
    # only how a report averages sets, which no figure of a cell depends on
    for one in (found['clean'], *found['shifts'], *found['ood']):
        del one['group']
    return found
