"""Cells of a grid, and what is kept of each."""
import copy
import functools
import json
import re
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Sequence, Tuple

from mmengine.config import Config
from mmpretrain.registry import HOOKS

from ..suite.spec import load_suite
from ..utils.config import meant, reference_hooks
from ..utils.console import write_json
from ..utils.locks import is_locked
from .spec import Setting, Study
from .training import Training, plain, training_of

DONE, FAILED, STARTED = 'done', 'failed', 'started'
# what a cell's file has, before it is done and afterwards
_KEYS = {
    False: {'state', 'depends'},
    True: {'state', 'depends', 'model', 'missing', 'times', 'versions'}
}


@dataclass(frozen=True)
class Cell:
    """One setting with one seed.

    Args:
        study (Study): Of which it is a cell.
        number (int): In the grid, from 0 on.
        setting (Setting): Its setting.
        seed (int): Its seed.
        training (Training): What it is trained with.
    """
    study: Study
    number: int
    setting: Setting
    seed: int
    training: Training

    def __str__(self) -> str:
        return f'{self.setting.name}, seed {self.seed}'

    @property
    def file_name(self) -> str:
        """What its files are called."""
        return f'{slug(self.setting.name)}_seed{self.seed}'

    @cached_property
    def test_config(self) -> Config:
        """Its config, with references used as the study says."""
        cfg = copy.deepcopy(self.training.cfg)
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
        hooks = reference_hooks(self.test_config)
        if hooks:
            found['references'] = plain(hooks[0])
        found['suite'] = _of_suite(self.study.on.suite)
        found['settings'] = plain(self.study.on.settings)
        if self.study.landscape is not None:
            found['landscape'] = dict(
                plain(asdict(self.study.landscape)),
                directions='by weight')  # how they are drawn
            found['shifted'] = self.study.on.shifted
        return found


class Kept:
    """What is known of a study's cells, in its folder.

    Args:
        work_dir (Path): Of the study.
    """

    def __init__(self, work_dir: Path):
        self.work_dir = Path(work_dir)

    def path(self, cell: Cell) -> Path:
        """The file of a cell."""
        return self.work_dir / 'cells' / f'{cell.file_name}.json'

    def lock_path(self, cell: Cell) -> Path:
        """What the process holds that works on a cell."""
        return self.work_dir / 'locks' / cell.file_name

    def get(self, cell: Cell) -> Optional[dict]:
        """What is kept of a cell; None before it was started.

        A damaged file counts as none, so that the cell is measured again.
        """
        try:
            found = json.loads(self.path(cell).read_text())
            done = found['state'] == DONE
            return found if _KEYS[done] <= set(found) else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def keep(self, cell: Cell, state: str, **found: Any) -> None:
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
                **found), path)

    def state(self, cell: Cell) -> str:
        """A cell's state, in a word or two."""
        if is_locked(self.lock_path(cell)):
            return 'running'
        found = self.get(cell)
        if found is None:
            return 'to do'
        if found['depends'] != cell.depends:
            return 'changed'
        if found['state'] == DONE and found.get('missing'):
            return 'done, sets missing'
        return found['state']

    def is_done(self, cell: Cell, redo: Sequence[str] = ()) -> bool:
        """Whether nothing is left to do.

        Args:
            cell (Cell): Any.
            redo (Sequence[str]): With ``'missing'`` it is not where a test
                set was missing. Defaults to none.
        """
        found = self.get(cell)
        return (found is not None and found['state'] == DONE
                and found['depends'] == cell.depends
                and not ('missing' in redo and found['missing']))

    def finished(self, cells: Sequence[Cell]) -> Iterator[Tuple[Cell, dict]]:
        """Those that are done with the settings of now, and what was found."""
        for cell in cells:
            if self.is_done(cell):
                yield cell, self.get(cell)


def all_cells(study: Study, cfg_options: Optional[dict] = None) -> List[Cell]:
    """The whole grid, settings in the outer loop.

    Raises:
        ValueError: A setting changes no place of its config, or uses
            references as they can't be.
    """
    pairs = [(setting, seed) for setting in study.settings
             for seed in study.seeds]
    cells = [
        Cell(study, i, setting, seed,
             training_of(study, setting, seed, cfg_options))
        for i, (setting, seed) in enumerate(pairs)
    ]
    for cell in cells[::len(study.seeds)]:
        _check_references(cell)
    return cells


def _check_references(cell: Cell) -> None:
    """Refuse what `KReferenceHook` would, before anything is trained."""
    for hook in reference_hooks(cell.test_config):
        try:
            HOOKS.build(hook)
        except (TypeError, ValueError) as error:
            raise ValueError(
                f'Expected `test` of {cell.setting.name!r}, or of the study, '
                f'to be arguments of KReferenceHook, but got: {error}'
            ) from error


def select(cells: Sequence[Cell], only: Optional[Sequence[str]]) -> List[Cell]:
    """The cells of some settings, or of all.

    Raises:
        ValueError: There is no such setting.
    """
    names = list(dict.fromkeys(cell.setting.name for cell in cells))
    for name in only or ():
        if name not in names:
            raise ValueError(
                f'Expected --only to name settings, {", ".join(names)}, but '
                f'got {name!r}. {meant(name, names, "Change it.")}')
    return [cell for cell in cells if not only or cell.setting.name in only]


def changes(before: dict, now: dict) -> Dict[str, Tuple[Any, Any]]:
    """What differs, by path.

    Example:
        >>> changes(dict(a=dict(b=1, c=2)), dict(a=dict(b=1, c=3)))
        {'a.c': (2, 3)}
    """
    before, now = dict(_flat(before)), dict(_flat(now))
    return {
        path: (before.get(path), now.get(path))
        for path in dict.fromkeys([*before, *now])
        if before.get(path) != now.get(path)
    }


def slug(name: str) -> str:
    """A name as part of a file's.

    Example:
        >>> slug('masked, α = 0.25')
        'masked-α-0-25'
    """
    return re.sub(r'\W+', '-', name).strip('-').lower()


def _flat(found: Any, path: str = '') -> Iterator[Tuple[str, Any]]:
    if isinstance(found, dict):
        inside = found.items()
    elif isinstance(found, list):
        inside = enumerate(found)
    else:
        yield path, found
        return
    for key, value in inside:
        yield from _flat(value, f'{path}.{key}' if path else str(key))


@functools.lru_cache(maxsize=None)
def _of_suite(name: str) -> dict:
    return plain(asdict(load_suite(name, '')))
