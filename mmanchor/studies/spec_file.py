"""From a study's file to a study."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmengine.config import Config

from ..suite.settings import Settings
from ..suite.spec import load_suite
from ..utils.config import CONFIG_DIR, check_fields
from ..utils.names import did_you_mean
from .metrics import METRICS, metric_names
from .slug import slug
from .spec import BASELINE, FIGURES, Ground, Landscape, Plot, Setting, Study
from .verdict import check_jobs

FOLDER = CONFIG_DIR / 'studies'
VARIANTS = 'variants'


@dataclass
class _Method:
    """How a ground has a method."""

    config: str
    options: dict = field(default_factory=dict)


def load_study(
    name: str | Path, on: str | None = None, seeds: Sequence[int] | None = None
) -> Study:
    """Read a study that comes with mmanchor, or a file of one's own.

    A file is an MMEngine config with the arguments of :class:`Study` but for
    its name; settings, plot and landscape are dicts with the arguments of
    their classes. ``variants`` has, by ground, what is another there. Names
    that begin with ``_`` are the file's own.

    Args:
        name (str | Path): ``'masking'``, for example, or a Python file.
        on (str, optional): The ground: one of ``configs/studies/_on_`` or a
            file. Defaults to None: what the study's file says.
        seeds (Sequence[int], optional): Defaults to None: the file's.

    Raises:
        FileNotFoundError: There is no such study or ground.
        ValueError: The file has an unknown name or lacks one, two settings
            are called the same, a seed comes twice, or the study can't be
            made on that ground.

    Example:
        >>> load_study('masking', on='digits').on.title
        'digits, ResNet-18 of width 16'
    """
    path = _find(name, FOLDER, 'a study')
    found = _read(path)
    ground = _load_ground(on or found.get('on', ''))
    variants = found.pop(VARIANTS, {})
    found.update(variants.get(ground.name, {}))
    found.pop('on', None)
    grounds = found.get('grounds') or [ground.name]
    if ground.name not in grounds:
        raise ValueError(
            f'Expected {path.stem} on {" or ".join(grounds)}, '
            'which it has configs for, but got --on '
            f'{ground.name}. Change it.'
        )
    given = dict(name=path.stem, on=ground)
    if seeds is not None:
        given['seeds'] = list(seeds)
    found = {**found, **given}
    check_fields(found, Study, path)
    settings = [
        _make(one, Setting, f'setting {i} of {path}')
        for i, one in enumerate(found['settings'])
    ]
    _check_settings(settings, ground, path)
    # a user's own are named by the study, or lie beside it
    known = dict.fromkeys(
        [
            *ground_names(),
            ground.name,
            *grounds,
            *(one.stem for one in path.parent.glob('*.py')),
        ]
    )
    _check_known(variants, known, f'`variants` of {path}')
    _check_published(settings, known, path)
    study = Study(
        **{
            **found,
            'settings': tuple(settings),
            'seeds': _check_seeds(found['seeds'], path),
            'metrics': tuple(found['metrics']),
            'baseline': _baseline(found.get('baseline'), settings, path),
            'plot': _make(found.get('plot', {}), Plot, f'`plot` of {path}'),
            'landscape': None
            if found.get('landscape') is None
            else _make(
                found['landscape'], Landscape, f'`landscape` of {path}'
            ),
        }
    )
    if study.landscape is not None and any(
        one.ensemble > 1 for one in settings
    ):
        raise ValueError(
            f'Expected no `ensemble` in {path}, which has a `landscape`: only '
            'one model has weights to move. Drop one of them.'
        )
    known = metric_names(one.name for one in load_suite(ground.suite).ood)
    _check_known(study.metrics, known, f'metrics in {path}')
    check_jobs(study.jobs, known)
    _check_known(study.plot.metrics, known, f'metrics of `plot` in {path}')
    _check_known([study.plot.kind], FIGURES, f'`kind` of `plot` in {path}')
    for one in settings if study.plot.log else ():
        if one.x is not None and not (
            isinstance(one.x, (int, float)) and one.x > 0
        ):
            raise ValueError(
                f'Expected `x` of {one.name!r} in {path} to be above 0 for a '
                f'logarithmic axis, but got {one.x!r}. Drop `log` of `plot`.'
            )
    return study


def study_names() -> list[str]:
    """Those that come with mmanchor."""
    return sorted(path.stem for path in FOLDER.glob('*.py'))


def ground_names() -> list[str]:
    """Grounds that come with mmanchor."""
    return sorted(path.stem for path in (FOLDER / '_on_').glob('*.py'))


def _load_ground(name: str) -> Ground:
    path = _find(name, FOLDER / '_on_', 'a ground (`on`)')
    found = dict(_read(path), name=path.stem)
    check_fields(found, Ground, path)
    check_fields(found.get('settings', {}), Settings, f'`settings` of {path}')
    shifts = [one.name for one in load_suite(found['suite']).shifts]
    _check_known([found['shifted']], shifts, f'`shifted` of {path}')
    configs = {}
    for method, one in found['configs'].items():
        one = dict(config=one) if isinstance(one, str) else dict(one)
        check_fields(one, _Method, f'{method} in {path}')
        inside = CONFIG_DIR / one['config']
        if not inside.is_file() and '::' not in one['config']:
            inside = path.parent / one['config']
            if not inside.is_file():
                raise FileNotFoundError(
                    f'Expected the config of {method} in {path}, '
                    f'{one["config"]}, in {CONFIG_DIR} or beside the file, '
                    'but it is in neither. Change it.'
                )
        configs[method] = dict(
            config=str(inside) if '::' not in one['config'] else one['config'],
            options=one.get('options', {}),
        )
    return Ground(**{**found, 'configs': configs})


def _find(name: str | Path, folder: Path, what: str) -> Path:
    known = sorted(path.stem for path in folder.glob('*.py'))
    path = folder / f'{name}.py' if str(name) in known else Path(name)
    if not path.is_file():
        raise FileNotFoundError(
            f'Expected {what} among {", ".join(known)}, or a Python file of '
            f'your own, but got {str(name)!r}. '
            f'{did_you_mean(str(name), known, "Change it.")}'
        )
    return path


def _read(path: Path) -> dict[str, Any]:
    return {
        key: value
        for key, value in Config.fromfile(path).to_dict().items()
        if not key.startswith('_') and key != 'custom_imports'
    }


def _make(config: dict, kind: type, where: str):
    check_fields(config, kind, where)
    return kind(**config)


def _check_settings(
    settings: Sequence[Setting], ground: Ground, path: Path
) -> None:
    if not settings:
        raise ValueError(
            f'Expected {path} to have settings, but got none. Add one.'
        )
    taken: dict[str, str] = {}
    for one in settings:
        word = slug(one.name)
        if word in taken or not word:
            raise ValueError(
                f'Expected every setting of {path} to have a name of its own, '
                f"also as part of a file's name ({word!r}), but got "
                f'{taken.get(word, "")!r} and {one.name!r}. Change one.'
            )
        taken[word] = one.name
    names = {one.name for one in settings}
    for one in settings:
        start = one.start
        if isinstance(start, str) and start not in names - {one.name}:
            raise ValueError(
                f'Expected `start` of {one.name!r} in {path} to be another '
                f'setting, but got {start!r}. {_advice(start, names)}'
            )
        if isinstance(start, dict):
            start = dict(start, name=f'start of {one.name}')
            _make(start, Setting, f'`start` of {one.name!r} in {path}')
        methods = [one.method]
        methods += [start['method']] if isinstance(start, dict) else []
        for method in methods:
            if method not in ground.configs:
                raise ValueError(
                    f'Expected `method` of {one.name!r} in {path} to be one '
                    f'that {ground.name} has a config of, but got '
                    f'{method!r}. {_advice(method, ground.configs)}'
                )
    for one in settings:
        _check_no_circle(one, settings, path)
        if (
            not isinstance(one.ensemble, int)
            or isinstance(one.ensemble, bool)
            or one.ensemble < 1
        ):
            raise ValueError(
                f'Expected `ensemble` of {one.name!r} in {path} to be a '
                f'number of models, 1 or more, but got {one.ensemble!r}. '
                'Change it.'
            )


def _baseline(
    name: str | None, settings: Sequence[Setting], path: Path
) -> str | None:
    names = [one.name for one in settings]
    if name is not None:
        _check_known([name], names, f'`baseline` of {path}')
        return name
    return BASELINE if BASELINE in names else None


def _check_published(
    settings: Sequence[Setting], grounds: Iterable[str], path: Path
) -> None:
    for one in settings:
        where = f'`paper` of {one.name!r} in {path}'
        _check_known(one.paper, grounds, where)
        for figures in one.paper.values():
            _check_known(figures, METRICS, where)


def _check_no_circle(
    setting: Setting, settings: Sequence[Setting], path: Path
) -> None:
    by_name = {one.name: one for one in settings}
    way = [setting.name]
    while isinstance(setting.start, str):
        setting = by_name[setting.start]
        way.append(setting.name)
        if len(way) > len(set(way)):
            raise ValueError(
                'Expected settings to start from what is trained without '
                f'them, but got {" → ".join(way)} in {path}. Take one '
                '`start` out.'
            )


def _check_seeds(seeds: Sequence[int], where: str | Path) -> tuple:
    for seed in seeds:
        if not isinstance(seed, int) or isinstance(seed, bool) or seed < 0:
            raise ValueError(
                'Expected seeds to be integers from 0 on, but '
                f'got {seed!r}. Change it.'
            )
    twice = {seed for seed in seeds if list(seeds).count(seed) > 1}
    if twice or not seeds:
        raise ValueError(
            f'Expected each seed of {where} once, but got '
            f'{", ".join(map(str, seeds)) or "none"}: the same run twice '
            'says nothing of how runs differ. Drop it.'
        )
    return tuple(seeds)


def _check_known(
    names: Iterable[str], known: Iterable[str], what: str
) -> None:
    for name in names:
        if name not in known:
            raise ValueError(
                f'Expected {what} to be among '
                f'{", ".join(known)}, but got {name!r}. '
                f'{_advice(name, known)}'
            )


def _advice(name: str, known: Iterable[str]) -> str:
    return did_you_mean(name, known, f'There is {", ".join(known)}.')
