"""The cells of a study: one setting with one seed each, and their records.

A cell is identified by everything that decides its result: its configs, its
references, the suite. The record of a finished cell is one JSON file, which
names no machine, so that records can be committed and copied.
"""

import copy
import functools
import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Optional

from mmengine.config import Config, ConfigDict
from mmengine.runner import Runner
from mmpretrain.registry import HOOKS

from ..suite.spec import load_suite
from ..utils.config import CONFIG_DIR, read_config, reference_hooks, type_name
from ..utils.console import write_json
from ..utils.files import whole_files
from ..utils.locks import is_locked
from ..utils.names import check_known, did_you_mean, named_arguments, slug
from .spec import Ground, Setting, Study

DONE, FAILED, STARTED = 'done', 'failed', 'started'
# the keys that a record needs, by whether its cell is done
_REQUIRED_KEYS = {
    False: {'state', 'depends'},
    True: {'state', 'depends', 'model', 'missing', 'times', 'versions'},
}
# keys of a config that do not change what is trained
_NOT_IDENTITY = ('work_dir', 'experiment_name', 'filename')
# arguments of a data loader that only change its speed; with another number of
# workers, as on another device, augmentations draw other random numbers
_LOADER_SPEED = (
    'num_workers',
    'persistent_workers',
    'pin_memory',
    'prefetch_factor',
)
# keys that the runner and the tools read besides the runner's arguments
_TOP_LEVEL_KEYS = (
    'activation_checkpointing',
    'auto_scale_lr',
    'compile',
    'custom_imports',
    'efficient_conv_bn_eval',
    'find_unused_parameters',
    'model_wrapper_cfg',
    'runner_type',
    'sync_bn',
    'tta_model',
    'tta_pipeline',
)


@dataclass(frozen=True)
class Training:
    """The training of one model: its config and its initial weights.

    Args:
        name (str): Its name in messages.
        cfg (Config): The whole config, which includes the seed.
        config_name (str): The file that the config was read from.
        start (Training, optional): Whose weights it starts from. Defaults to
            None: random weights.
    """

    name: str
    cfg: Config
    config_name: str
    start: Optional['Training'] = None

    @cached_property
    def depends(self) -> dict:
        """Everything that decides the trained weights, as JSON."""
        depends = dict(config=without_loader_speed(as_json(self.cfg)))
        if self.start is not None:
            depends['start'] = self.start.depends
        return depends

    @cached_property
    def key(self) -> str:
        """A hash of ``depends``: equal trainings share their model."""
        text = json.dumps(self.depends, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def folder(self, work_dir: Path) -> Path:
        """The folder of its checkpoints in a study's work dir."""
        return work_dir / 'trained' / self.key

    def checkpoint(self, work_dir: Path) -> str | None:
        """The checkpoint of the last epoch; None until training ends."""
        record = self.folder(work_dir) / 'trained.json'
        try:
            path = record.with_name(
                json.loads(record.read_text(encoding='utf-8'))['file']
            )
        except (OSError, ValueError, KeyError, TypeError):
            return None  # missing or damaged: training continues
        return str(path) if path.is_file() else None

    def seconds(self, work_dir: Path) -> float:
        """The time that training took, over all processes that took part.

        It includes the training of the model that it starts from.
        """
        record = self.folder(work_dir) / 'trained.json'
        own = json.loads(record.read_text(encoding='utf-8'))['seconds']
        before = self.start.seconds(work_dir) if self.start else 0.0
        return round(own + before, 1)


@dataclass(frozen=True)
class StudyCell:
    """One setting with one seed.

    Args:
        study (Study): The study.
        number (int): The cell's number in the grid, from 0 on.
        setting (Setting): The setting.
        seed (int): The seed.
        training (Training): The training of its model.
        others (Tuple[Training, ...]): The trainings of the other members of
            an ensemble. Defaults to none.
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
        """The name of its files, without an ending."""
        return f'{slug(self.setting.name)}_seed{self.seed}'

    @property
    def trainings(self) -> tuple[Training, ...]:
        """The trainings of its models: of all members of an ensemble."""
        return (self.training, *self.others)

    @cached_property
    def test_config(self) -> Config:
        """Its config, with references used in the way the study tests."""
        return self.test_config_of(self.training)

    def test_config_of(self, training: Training) -> Config:
        """``test_config`` of one member of an ensemble."""
        cfg = copy.deepcopy(training.cfg)
        test = {**self.study.test, **self.setting.test}
        for hook in reference_hooks(cfg):
            hook.update(copy.deepcopy(test))
            if 'select' in test or 'source' in test:
                hook['redraw'] = True
        return cfg

    @cached_property
    def depends(self) -> dict:
        """Everything that decides the cell's result, as JSON.

        Records are used only while this stays equal: a change of its keys or
        values makes all stored cells invalid.
        """
        depends: dict[str, Any] = dict(training=self.training.depends)
        if self.others:  # their configs differ in the seed only
            depends['ensemble'] = [
                one.cfg.randomness.seed for one in self.trainings
            ]
        hooks = reference_hooks(self.test_config)
        if hooks:
            depends['references'] = as_json(hooks[0])
        depends['suite'] = _suite_identity(self.study.on.suite)
        depends['settings'] = as_json(suite_settings(self.study.on))
        if self.study.landscape is not None:
            # how directions are drawn is part of a landscape's identity
            depends['landscape'] = dict(
                as_json(asdict(self.study.landscape)), directions='by weight'
            )
            depends['shifted'] = self.study.on.shifted
        return depends


class CellStore:
    """Reads and writes the records of cells in a study's work dir."""

    def __init__(self, work_dir: Path):
        self.work_dir = Path(work_dir)

    def path(self, cell: StudyCell) -> Path:
        """The file of a cell's record."""
        return self.work_dir / 'cells' / f'{cell.file_name}.json'

    def lock_path(self, cell: StudyCell) -> Path:
        """The lock that a process holds while it works on a cell."""
        return self.work_dir / 'locks' / cell.file_name

    def get(self, cell: StudyCell) -> dict | None:
        """Read a cell's record; None if there is none.

        A damaged record counts as none, so that the cell is measured again.
        """
        try:
            record = json.loads(self.path(cell).read_text(encoding='utf-8'))
            # older records have these arguments
            record['depends'] = without_loader_speed(record['depends'])
            is_done = record['state'] == DONE
            return record if _REQUIRED_KEYS[is_done] <= set(record) else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def write(self, cell: StudyCell, state: str, **values: Any) -> None:
        """Write a cell's record, either completely or not at all.

        The state is ``'started'``, ``'failed'`` or ``'done'``.
        """
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
                **values,
            ),
            path,
            indent=1,
        )

    def write_traceback(self, cell: StudyCell, text: str) -> None:
        """Write why a cell failed, in a folder beside the records."""
        with whole_files(self.work_dir / 'tracebacks') as partial:
            (partial / f'{cell.file_name}.txt').write_text(
                text, encoding='utf-8'
            )

    def state(self, cell: StudyCell) -> str:
        """The state of a cell, as ``--list`` prints it."""
        if is_locked(self.lock_path(cell)):
            return 'running'
        record = self.get(cell)
        if record is None:
            checkpoint = cell.training.checkpoint(self.work_dir)
            return 'to do' if checkpoint is None else 'trained'
        if record['depends'] != cell.depends:
            return 'changed'
        if record['state'] == DONE and record.get('missing'):
            return 'done, sets missing'
        return record['state']

    def is_done(self, cell: StudyCell, redo: Sequence[str] = ()) -> bool:
        """Whether a cell is finished with the study's present settings.

        With ``'missing'`` in ``redo``, a cell for which a test set was
        missing is not finished.
        """
        record = self.get(cell)
        return (
            record is not None
            and record['state'] == DONE
            and record['depends'] == cell.depends
            and not ('missing' in redo and record['missing'])
        )


def suite_settings(ground: Ground) -> dict:
    """Settings of the suite: all figures that one pass can give."""
    return dict(temperature=True, single_references=True) | ground.settings


def all_cells(
    study: Study, cfg_options: dict | None = None
) -> list[StudyCell]:
    """The cells of a study: for each setting, all of its seeds.

    Raises:
        ValueError: An option names no place in its config, or `test` has
            wrong arguments of ``KReferenceHook``.
    """
    cells = []
    for setting in study.settings:
        for place, seed in enumerate(study.seeds):
            # fewer than the ensemble has members if the study has fewer
            # seeds, which `select_cells` refuses
            members = study.seeds[place:] + study.seeds[:place]
            first, *others = [
                training_of(study, setting, one, cfg_options)
                for one in members[: setting.ensemble]
            ]
            cells.append(
                StudyCell(
                    study, len(cells), setting, seed, first, tuple(others)
                )
            )
    for cell in cells[:: len(study.seeds)]:
        _check_references(cell)
    return cells


def _check_references(cell: StudyCell) -> None:
    """Raise now for arguments that `KReferenceHook` would refuse later."""
    for hook in reference_hooks(cell.test_config):
        try:
            HOOKS.build(hook)
        except (TypeError, ValueError) as error:
            raise ValueError(
                f'Expected `test` of {cell.setting.name!r}, or of the study, '
                f'to be arguments of KReferenceHook, but got: {error}'
            ) from error


def select_cells(
    cells: Sequence[StudyCell], only: Sequence[str] | None
) -> list[StudyCell]:
    """The cells of some settings, or of all if ``only`` names none.

    Raises:
        ValueError: A setting does not exist, or an ensemble among them has
            more members than the study has seeds.
    """
    check_known(only or (), [cell.setting.name for cell in cells], '--only')
    selected = [
        cell for cell in cells if not only or cell.setting.name in only
    ]
    for cell in selected:
        if len(cell.trainings) < cell.setting.ensemble:
            raise ValueError(
                'Expected as many seeds as the ensemble '
                f'{cell.setting.name!r} has members, '
                f'{cell.setting.ensemble}, but got {len(cell.trainings)}. '
                'Add seeds, or leave the setting out with --only.'
            )
    return selected


def describe_changes(paths: dict[str, tuple[Any, Any]], at_most: int) -> str:
    """Say in a line how a cell on disk differs from the present study.

    ``paths`` are differences of :func:`~mmanchor.utils.config.changes`.

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
def _suite_identity(name: str) -> dict:
    suite = as_json(asdict(load_suite(name, '')))
    # groups only decide which sets a report averages, not a cell's result
    for one in (suite['clean'], *suite['shifts'], *suite['ood']):
        del one['group']
    return suite


# configs


def training_of(
    study: Study, setting: Setting, seed: int, cfg_options: dict | None = None
) -> Training:
    """The training of a setting with a seed; the study need not have it.

    Raises:
        ValueError: An option names no place in the config.
    """
    start = setting.start
    if isinstance(start, str):
        start = study.setting(start)
    elif start is not None:
        start = Setting(**{'name': f'start of {setting.name}', **start})
    return Training(
        f'{setting.name}, seed {seed}',
        _training_config(study.on, setting, seed, cfg_options or {}),
        study.on.configs[setting.method]['config'],
        start and training_of(study, start, seed, cfg_options),
    )


def _training_config(
    on: Ground, setting: Setting, seed: int, cfg_options: dict
) -> Config:
    method = on.configs[setting.method]
    if setting.config is None:
        path, own = method['config'], method['options']
    else:
        path, own = CONFIG_DIR / setting.config, {}
    cfg = copy.deepcopy(_read_config_once(str(path)))
    for options, who in (
        (on.options, on.name),
        (own, f'{on.name} for {setting.method}'),
        (setting.options, repr(setting.name)),
        (cfg_options, '--cfg-options'),
    ):
        override(cfg, options, who)
    if setting.wrap_dataset is not None:
        loader = cfg.train_dataloader
        loader.dataset = dict(setting.wrap_dataset, dataset=loader.dataset)
    cfg.setdefault('randomness', {})['seed'] = seed
    preprocessor = cfg.get('data_preprocessor') or {}
    for drawn in (*reference_hooks(cfg), preprocessor.get('references')):
        if isinstance(drawn, dict):
            drawn.setdefault('seed', seed)
    # a study needs the last checkpoint only
    checkpoint = (cfg.get('default_hooks') or {}).get('checkpoint')
    if checkpoint is not None:
        checkpoint['max_keep_ckpts'] = 1
    return cfg


# settings share their config files, and reading one takes long
_read_config_once = functools.lru_cache(maxsize=None)(read_config)


def as_json(config: Any) -> Any:
    """Convert a config, or any value in one, to what JSON can hold.

    Example:
        >>> as_json(Config(dict(a=(1, None), b=dict(type=Config))))
        {'a': [1, None], 'b': {'type': 'Config'}}
    """
    if isinstance(config, Config):
        config = {
            key: value
            for key, value in config.to_dict().items()
            if key not in _NOT_IDENTITY
        }
    if isinstance(config, dict):
        return {
            str(key): type_name(config) if key == 'type' else as_json(value)
            for key, value in config.items()
        }
    if isinstance(config, (list, tuple)):
        return [as_json(value) for value in config]
    if config is None or isinstance(config, (bool, int, float, str)):
        return config
    name = getattr(config, '__qualname__', None)
    # the representation of a function contains its address in memory
    return repr(config) if name is None else f'{config.__module__}.{name}'


def without_loader_speed(value: Any, name: str = '') -> Any:
    """Remove from a config as JSON what only decides how fast images are read.

    A study may then be continued on a machine that reads its images with
    another number of workers. ``name`` is the key of the value in its config.

    Example:
        >>> loader = dict(batch_size=8, num_workers=2)
        >>> without_loader_speed(dict(train_dataloader=loader))
        {'train_dataloader': {'batch_size': 8}}
    """
    if isinstance(value, list):
        return [without_loader_speed(one) for one in value]
    if not isinstance(value, dict):
        return value
    is_loader = name.endswith('_dataloader')
    return {
        key: without_loader_speed(one, key)
        for key, one in value.items()
        if not (is_loader and key in _LOADER_SPEED)
    }


def override(cfg: Config, options: dict, who: str) -> None:
    """Replace values in a config; refuse paths that do not exist.

    Unlike ``Config.merge_from_dict``, which adds unknown keys silently and
    merges dicts, this replaces whole values.

    Args:
        cfg (Config): The config, which is changed.
        options (dict): Values by path, such as
            ``{'model.backbone.depth': 18}``; a number is a place in a list.
        who (str): Who sets the options, for errors.

    Raises:
        ValueError: A path does not exist in the config.
    """
    for path, value in options.items():
        *parents, last = path.split('.')
        place: Any = cfg
        for i, key in enumerate(parents):
            where = '.'.join(parents[:i])
            place = place[_existing_key(place, key, path, where, who)]
        if parents and isinstance(place, (dict, Config)):
            key: str | int = last  # a new argument, which its class may take
        elif parents and not isinstance(place, list):
            raise ValueError(
                f'Expected `{path}`, which {who} sets, to be a place in its '
                f'config, but `{".".join(parents)}` is {place!r}. Change the '
                'path.'
            )
        elif not parents and last in (
            *named_arguments(Runner),
            *_TOP_LEVEL_KEYS,
        ):
            key = last
        else:
            key = _existing_key(place, last, path, '.'.join(parents), who)
        place[key] = ConfigDict(value=value).value


def _existing_key(
    place: Any, key: str, path: str, where: str, who: str
) -> str | int:
    """The key of a dict or the index of a list, if it exists."""
    if isinstance(place, (list, tuple)):
        keys: list = list(range(len(place)))
    elif isinstance(place, (dict, Config)):
        keys = list(place)
    else:
        keys = []
    names = list(map(str, keys))
    if key in names:
        return keys[names.index(key)]
    there = f'There is {", ".join(names) or "nothing"}.'
    raise ValueError(
        f'Expected `{path}`, which {who} sets, to be a place in its '
        f'config, but {f"`{where}`" if where else "the config"} has no '
        f'{key!r}. {did_you_mean(key, names, there, at_most=3)}'
    )


def with_data_root(config: Any, data_root: str) -> Any:
    """Copy a config, or any value in one, with data sets in another folder.

    Example:
        >>> with_data_root(dict(data_root='data/cifar10/train'), '/disk')
        {'data_root': '/disk/cifar10/train'}
    """
    if isinstance(config, Config):
        values = with_data_root(config.to_dict(), data_root)
        return Config(values, filename=config.filename)
    if isinstance(config, dict):
        return {
            key: _move_path(value, data_root)
            if key in ('data_root', 'mixing_set')
            else with_data_root(value, data_root)
            for key, value in config.items()
        }
    if isinstance(config, (list, tuple)):
        return [with_data_root(value, data_root) for value in config]
    return config


def _move_path(path: Any, data_root: str) -> Any:
    """Move a path that begins with ``data`` to another folder."""
    parts = Path(path).parts if isinstance(path, str) else ()
    if parts[:1] != ('data',):
        return path
    return str(Path(data_root, *parts[1:]))
