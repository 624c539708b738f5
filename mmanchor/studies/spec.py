"""What a study trains and measures, and where."""

from collections.abc import Sequence
from dataclasses import dataclass, field

Number = int | float | str
BASELINE = 'standard'
FIGURES = ('lines', 'points', 'landscape')


@dataclass(frozen=True)
class Ground:
    """Data, architecture and test sets: what a study is made on.

    Args:
        name (str): Of its file in ``configs/studies/_on_``.
        title (str): As tables and figures call it.
        configs (Dict[str, dict]): By method (``'standard'``, ``'anchored'``,
            ``'masked'``): ``config``, a file, and ``options``, changes of it.
        suite (str): The safety suite that models are measured by.
        shifted (str): Of its shifted sets, that which "corrupted" means.
        options (dict): Changes of every config. Defaults to none.
        settings (dict): Of the suite, such as ``batch_size``. Defaults to
            none.
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
    """One column of a grid, trained once a seed.

    Args:
        name (str): As tables call it.
        method (str): A config of the ground.
        options (dict): Changes of it, as ``{'model.backbone.depth': 18}``.
            Defaults to none.
        wrap_dataset (dict, optional): A dataset that wraps that of training,
            without its ``dataset``. Defaults to None.
        config (str, optional): Another file of a config, for this setting.
            Defaults to None: the ground's.
        test (dict): How references are used in measuring: arguments of
            ``KReferenceHook`` to change. Settings that differ in these alone
            are trained once. Defaults to none.
        start (str | dict, optional): Whose weights training starts from:
            the name of a setting, or the arguments of one that is in no
            table. Defaults to None: random ones.
        series (str, optional): The line or the colour of a figure. Defaults
            to None: the method.
        x (int | float | str, optional): The place on a figure's axis.
            Defaults to None: all of it.
        ensemble (int): How many of the setting's models, of as many seeds,
            answer as one, by the mean of their probabilities: that of seed i
            and those of the next seeds, from the last on to the first again.
            Nothing more is trained. Defaults to 1: each model by itself.
        paper (Dict[str, dict]): What was published, by ground and metric.
            Defaults to nothing.
    """

    name: str
    method: str
    options: dict = field(default_factory=dict)
    wrap_dataset: dict | None = None
    config: str | None = None
    test: dict = field(default_factory=dict)
    start: str | dict | None = None
    series: str | None = None
    x: Number | None = None
    ensemble: int = 1
    paper: dict[str, dict[str, float]] = field(default_factory=dict)

    @property
    def line(self) -> str:
        """What a figure's legend calls it."""
        return self.series or self.method


@dataclass(frozen=True)
class Plot:
    """How a study is drawn.

    Args:
        kind (str): ``'lines'``, ``'points'`` side by side, or
            ``'landscape'``. Defaults to ``'points'``.
        metrics (Sequence[str]): A panel each. Defaults to those of clean and
            corrupted accuracy.
        xlabel (str): Defaults to none.
        log (bool): Whether x is on a logarithmic scale. Defaults to False.
    """

    kind: str = 'points'
    metrics: Sequence[str] = ('clean', 'corrupted')
    xlabel: str = ''
    log: bool = False


@dataclass(frozen=True)
class Landscape:
    """Which accuracies around the weights are measured.

    Args:
        points (int): On each axis, an odd number so that the weights are
            among them. Defaults to 21.
        reach (float): From the weights, in units of their filters' norms.
            Defaults to 1.
        images (int): Of the ground's shifted set, drawn at random. Defaults
            to 2000.
        normalise (Sequence[bool]): Whether directions are normalised filter
            by filter; a panel each. Defaults to both.

    Raises:
        ValueError: There is no such grid.
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
    """A grid of settings and seeds.

    Args:
        name (str): Of its file.
        title (str): As tables and figures call it.
        on (Ground): What it is made on.
        settings (Sequence[Setting]): The grid's columns.
        seeds (Sequence[int]): Of weights, order, augmentation, masks and
            references.
        metrics (Sequence[str]): Columns of the table; see
            :data:`~mmanchor.studies.metrics.METRICS`; ``auroc_SET`` is that of
            one set out of distribution.
        plot (Plot): The figure.
        test (dict): How references are used, unless a setting says
            otherwise. Defaults to the config's.
        baseline (str, optional): The setting that all others are compared
            with, seed by seed. Defaults to None: that called ``'standard'``,
            and none where there is no such setting.
        caption (str): What has to be known to read the table.
        landscape (Landscape, optional): Measure accuracy around the weights
            rather than the suite. Defaults to None.
        grounds (Sequence[str]): Those that it can be made on, by name.
            Defaults to none: on any.
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
        """The setting of a name."""
        return next(one for one in self.settings if one.name == name)
