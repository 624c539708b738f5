"""What a study is: its ground, settings and seeds, and how its file is read.

A study trains and measures a grid of settings and seeds on one ground, which
is the data, the architecture and the test sets.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmengine.config import Config

from ..suite.spec import Settings, load_suite
from ..utils.config import CONFIG_DIR, check_fields
from ..utils.names import check_known, did_you_mean, slug
from .metrics import METRICS, metric_names

BASELINE = 'standard'  # the baseline of studies that name none
PLOT_KINDS = ('lines', 'points', 'landscape')
STUDY_DIR = CONFIG_DIR / 'studies'
GROUND_DIR = STUDY_DIR / '_on_'


@dataclass(frozen=True)
class Ground:
    """The data, the architecture and the test sets that a study uses.

    Args:
        name (str): The name of its file in ``configs/studies/_on_``.
        title (str): Its name in tables and figures.
        configs (Dict[str, dict]): For each method (``'standard'``,
            ``'anchored'``, ``'masked'``): ``config``, a config file, and
            ``options``, changes of it.
        suite (str): The safety suite that measures the models.
        shifted (str): The shifted set of that suite which metrics call
            "corrupted".
        options (dict): Changes of every config. Defaults to none.
        settings (dict): Settings of the suite, such as ``batch_size``.
            Defaults to none.
    """

    name: str
    title: str
    configs: dict[str, dict]
    suite: str
    shifted: str
    options: dict = field(default_factory=dict)
    settings: dict = field(default_factory=dict)


@dataclass(frozen=True)
class Setting:
    """One way to train and test a model, which is run once for each seed.

    Args:
        name (str): Its name in tables.
        method (str): One of the ground's ``configs``.
        options (dict): Changes of that config, such as
            ``{'model.backbone.depth': 18}``. Defaults to none.
        wrap_dataset (dict, optional): The config of a dataset that wraps the
            training set, without ``dataset``. Defaults to None.
        config (str, optional): A config file to use instead of the ground's.
            Defaults to None.
        test (dict): Arguments of ``KReferenceHook`` that measuring changes.
            Settings that differ in these alone share one trained model.
            Defaults to none.
        start (str | dict, optional): Training starts from the weights of
            this setting: its name, or the arguments of a setting that is in
            no table. Defaults to None: random weights.
        series (str, optional): The line or colour of a figure it belongs to.
            Defaults to None: the method.
        x (int | float | str, optional): Its place on a figure's x axis.
            Defaults to None: it spans the whole axis.
        ensemble (int): The number of the setting's models, trained with as
            many seeds, that answer as one by the mean of their
            probabilities. The ensemble of a seed has the models of that seed
            and of the seeds after it; the first seed follows the last.
            Nothing more is trained. Defaults to 1: no ensemble.
        paper (Dict[str, dict]): Published values, by ground and metric.
            Defaults to none.
    """

    name: str
    method: str
    options: dict = field(default_factory=dict)
    wrap_dataset: dict | None = None
    config: str | None = None
    test: dict = field(default_factory=dict)
    start: str | dict | None = None
    series: str | None = None
    x: int | float | str | None = None
    ensemble: int = 1
    paper: dict[str, dict[str, float]] = field(default_factory=dict)

    @property
    def line(self) -> str:
        """The name of its series in a figure's legend."""
        return self.series or self.method


@dataclass(frozen=True)
class Plot:
    """How a study is drawn.

    Args:
        kind (str): ``'lines'``, ``'points'`` or ``'landscape'``. Defaults to
            ``'points'``.
        metrics (Sequence[str]): The figure has a panel for each. Defaults to
            clean and corrupted accuracy.
        xlabel (str): The label of the x axis. Defaults to none.
        log (bool): Whether the x axis is logarithmic. Defaults to False.
    """

    kind: str = 'points'
    metrics: Sequence[str] = ('clean', 'corrupted')
    xlabel: str = ''
    log: bool = False


@dataclass(frozen=True)
class Landscape:
    """The grid around a model's weights on which its accuracy is measured.

    Args:
        points (int): The number of points on each axis: odd, so that the
            weights themselves are one of them. Defaults to 21.
        reach (float): The distance from the weights to the border, in units
            of the norms of their filters. Defaults to 1.
        images (int): The number of images, drawn at random from the ground's
            shifted set. Defaults to 2000.
        normalise (Sequence[bool]): Whether directions are normalised filter
            by filter; the figure has a row for each value. Defaults to both.

    Raises:
        ValueError: The values describe no grid.
    """

    points: int = 21
    reach: float = 1.0
    images: int = 2000
    normalise: Sequence[bool] = (True, False)

    def __post_init__(self):
        if self.points < 3 or self.points % 2 == 0:
            raise ValueError(
                'Expected `points` of a landscape to be an odd '
                f'number from 3 on, but got {self.points}.'
            )
        if not self.reach > 0 or self.images < 1 or not self.normalise:
            raise ValueError(
                'Expected a landscape to have a `reach` above 0, `images`, '
                'and kinds of directions to `normalise` or not, but got '
                f'{self.reach}, {self.images} and {self.normalise}.'
            )


@dataclass(frozen=True)
class Study:
    """A grid of settings and seeds on one ground.

    Args:
        name (str): The name of its file.
        title (str): Its title in tables and figures.
        on (Ground): The ground.
        settings (Sequence[Setting]): The settings.
        seeds (Sequence[int]): Seeds of weights, data order, augmentation,
            masks and references.
        metrics (Sequence[str]): Columns of the table: names in
            :data:`~mmanchor.studies.metrics.METRICS`, or ``auroc_SET`` for
            one set out of distribution.
        plot (Plot): How the figure is drawn.
        test (dict): Arguments of ``KReferenceHook`` for measuring, which
            ``test`` of a setting overrides. Defaults to the config's.
        baseline (str, optional): The setting that all others are compared
            with, seed by seed. Defaults to None: the setting ``'standard'``
            if there is one.
        caption (str): What readers of the table need to know.
        landscape (Landscape, optional): Measure the accuracy around the
            weights instead of the suite. Defaults to None.
        grounds (Sequence[str]): The grounds that it has configs for. Defaults
            to none: it works on all of them.
        jobs (Dict[str, str]): What users want a model for, and the metric
            that decides which setting is recommended for it; see
            :mod:`~mmanchor.studies.verdict`. Defaults to none.
    """

    name: str
    title: str
    on: Ground
    settings: tuple[Setting, ...]
    seeds: tuple[int, ...]
    metrics: tuple[str, ...]
    plot: Plot = Plot()
    test: dict = field(default_factory=dict)
    baseline: str | None = None
    caption: str = ''
    landscape: Landscape | None = None
    grounds: Sequence[str] = ()
    jobs: dict[str, str] = field(default_factory=dict)

    def setting(self, name: str) -> Setting:
        """Return the setting of a name."""
        return next(one for one in self.settings if one.name == name)


def study_names() -> list[str]:
    """Names of the studies that come with mmanchor."""
    return _names_in(STUDY_DIR)


def ground_names() -> list[str]:
    """Names of the grounds that come with mmanchor."""
    return _names_in(GROUND_DIR)


def _names_in(folder: Path) -> list[str]:
    return sorted(path.stem for path in folder.glob('*.py'))


def load_study(
    name: str | Path, on: str | None = None, seeds: Sequence[int] | None = None
) -> Study:
    """Read a study that comes with mmanchor, or a file of one's own.

    The file is an MMEngine config that sets the arguments of :class:`Study`
    except for its name; settings, plot and landscape are dicts with the
    arguments of their classes. ``variants`` holds, by ground, the values that
    differ there. Names that begin with ``_`` are ignored.

    Args:
        name (str | Path): A name such as ``'masking'``, or a Python file.
        on (str, optional): The ground: a name in ``configs/studies/_on_``,
            or a file. Defaults to None: the one that the study's file names.
        seeds (Sequence[int], optional): Defaults to None: the file's seeds.

    Raises:
        FileNotFoundError: The study or the ground does not exist.
        ValueError: The file has an unknown name or lacks one, two settings
            share a name, a seed comes twice, or the study has no configs for
            the ground.

    Example:
        >>> load_study('masking', on='digits').on.title
        'digits, ResNet-18 of width 16'
    """
    path = _find_file(name, STUDY_DIR, 'a study')
    values = _read_values(path)
    ground = _load_ground(on or values.get('on', ''))
    variants = values.pop('variants', {})
    values.update(variants.get(ground.name, {}))
    values.update(name=path.stem, on=ground)
    if seeds is not None:
        values['seeds'] = list(seeds)
    grounds = values.get('grounds') or [ground.name]
    if ground.name not in grounds:
        raise ValueError(
            f'Expected {path.stem} on {" or ".join(grounds)}, '
            'which it has configs for, but got --on '
            f'{ground.name}. Change it.'
        )
    check_fields(values, Study, path)
    _check_seeds(values['seeds'], path)
    settings = [
        _build(one, Setting, f'setting {i} of {path}')
        for i, one in enumerate(values['settings'])
    ]
    _check_settings(settings, ground, path)
    # a user's own ground is named by the study, or lies beside it
    known_grounds = [
        *ground_names(),
        ground.name,
        *grounds,
        *(one.stem for one in path.parent.glob('*.py')),
    ]
    check_known(variants, known_grounds, f'`variants` of {path}')
    for one in settings:
        where = f'`paper` of {one.name!r} in {path}'
        check_known(one.paper, known_grounds, where)
        for published in one.paper.values():
            check_known(published, METRICS, where)
    names = [one.name for one in settings]
    if values.get('baseline') is not None:
        check_known([values['baseline']], names, f'`baseline` of {path}')
    elif BASELINE in names:
        values['baseline'] = BASELINE
    values.update(
        settings=tuple(settings),
        seeds=tuple(values['seeds']),
        metrics=tuple(values['metrics']),
        plot=_build(values.get('plot', {}), Plot, f'`plot` of {path}'),
    )
    if values.get('landscape') is not None:
        values['landscape'] = _build(
            values['landscape'], Landscape, f'`landscape` of {path}'
        )
    study = Study(**values)
    _check_study(study, path)
    return study


def _find_file(name: str | Path, folder: Path, what: str) -> Path:
    known = _names_in(folder)
    path = folder / f'{name}.py' if str(name) in known else Path(name)
    if not path.is_file():
        raise FileNotFoundError(
            f'Expected {what} among {", ".join(known)}, or a Python file of '
            f'your own, but got {str(name)!r}. '
            f'{did_you_mean(str(name), known, "Change it.")}'
        )
    return path


def _read_values(path: Path) -> dict[str, Any]:
    return {
        key: value
        for key, value in Config.fromfile(path).to_dict().items()
        if not key.startswith('_') and key != 'custom_imports'
    }


def _build(config: dict, kind: type, where: str):
    check_fields(config, kind, where)
    return kind(**config)


@dataclass
class _Method:
    """The arguments of one method in a ground's ``configs``."""

    config: str
    options: dict = field(default_factory=dict)


def _load_ground(name: str) -> Ground:
    path = _find_file(name, GROUND_DIR, 'a ground (`on`)')
    values = dict(_read_values(path), name=path.stem)
    check_fields(values, Ground, path)
    check_fields(values.get('settings', {}), Settings, f'`settings` of {path}')
    shifts = [one.name for one in load_suite(values['suite']).shifts]
    check_known([values['shifted']], shifts, f'`shifted` of {path}')
    configs = {}
    for method, one in values['configs'].items():
        one = dict(config=one) if isinstance(one, str) else one
        arguments = _build(one, _Method, f'{method} in {path}')
        configs[method] = dict(
            config=_config_file(arguments.config, method, path),
            options=arguments.options,
        )
    return Ground(**{**values, 'configs': configs})


def _config_file(name: str, method: str, path: Path) -> str:
    if '::' in name:  # of another package, as `mmpretrain::...`
        return name
    for folder in (CONFIG_DIR, path.parent):
        if (folder / name).is_file():
            return str(folder / name)
    raise FileNotFoundError(
        f'Expected the config of {method} in {path}, {name}, in {CONFIG_DIR} '
        'or beside the file, but it is in neither. Change it.'
    )


def _check_settings(
    settings: Sequence[Setting], ground: Ground, path: Path
) -> None:
    if not settings:
        raise ValueError(
            f'Expected {path} to have settings, but got none. Add one.'
        )
    by_slug: dict[str, str] = {}
    for one in settings:
        word = slug(one.name)
        if word in by_slug or not word:
            raise ValueError(
                f'Expected every setting of {path} to have a name of its own, '
                f"also as part of a file's name ({word!r}), but got "
                f'{by_slug.get(word, "")!r} and {one.name!r}. Change one.'
            )
        by_slug[word] = one.name
    for one in settings:
        _check_start(one, settings, path)
        methods = [one.method]
        if isinstance(one.start, dict):
            methods.append(one.start['method'])
        where = f'`method` of {one.name!r} in {path}, on {ground.name},'
        check_known(methods, ground.configs, where)
        if type(one.ensemble) is not int or one.ensemble < 1:
            raise ValueError(
                f'Expected `ensemble` of {one.name!r} in {path} to be a '
                f'number of models, 1 or more, but got {one.ensemble!r}. '
                'Change it.'
            )


def _check_start(
    setting: Setting, settings: Sequence[Setting], path: Path
) -> None:
    """Raise if `start` names no other setting, or leads back to itself."""
    by_name = {one.name: one for one in settings}
    if isinstance(setting.start, dict):
        start = dict(setting.start, name=f'start of {setting.name}')
        _build(start, Setting, f'`start` of {setting.name!r} in {path}')
    chain = [setting.name]
    while isinstance(setting.start, str):
        others = [name for name in by_name if name != setting.name]
        if setting.start not in others:
            raise ValueError(
                f'Expected `start` of {setting.name!r} in {path} to be '
                f'another setting, but got {setting.start!r}. '
                + did_you_mean(
                    setting.start, others, f'There is {", ".join(others)}.'
                )
            )
        setting = by_name[setting.start]
        chain.append(setting.name)
        if len(chain) > len(set(chain)):
            raise ValueError(
                'Expected settings to start from what is trained without '
                f'them, but got {" → ".join(chain)} in {path}. Take one '
                '`start` out.'
            )


def _check_seeds(seeds: Sequence[int], path: Path) -> None:
    for seed in seeds:
        if type(seed) is not int or seed < 0:
            raise ValueError(
                'Expected seeds to be integers from 0 on, but '
                f'got {seed!r}. Change it.'
            )
    if not seeds or len(set(seeds)) < len(seeds):
        raise ValueError(
            f'Expected each seed of {path} once, but got '
            f'{", ".join(map(str, seeds)) or "none"}: the same run twice '
            'does not show how runs differ. Drop it.'
        )


def _check_study(study: Study, path: Path) -> None:
    """Raise if metrics or the plot do not fit the study."""
    if study.landscape is not None and any(
        one.ensemble > 1 for one in study.settings
    ):
        raise ValueError(
            f'Expected no `ensemble` in {path}, which has a `landscape`: only '
            'one model has weights to move. Drop one of them.'
        )
    known = metric_names(one.name for one in load_suite(study.on.suite).ood)
    check_known(study.metrics, known, f'metrics in {path}')
    check_known(study.plot.metrics, known, f'metrics of `plot` in {path}')
    check_known([study.plot.kind], PLOT_KINDS, f'`kind` of `plot` in {path}')
    for job, metric in study.jobs.items():
        check_known([metric], known, f'the metric of the task {job!r}')
    for one in study.settings if study.plot.log else ():
        if one.x is not None and not (
            isinstance(one.x, (int, float)) and one.x > 0
        ):
            raise ValueError(
                f'Expected `x` of {one.name!r} in {path} to be above 0 for a '
                f'logarithmic axis, but got {one.x!r}. Drop `log` of `plot`.'
            )
