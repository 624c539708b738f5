"""The test sets of a suite, read from its file, and the settings of a run."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from mmengine.config import Config
from mmpretrain.registry import DATASETS

from ..datasets import C_KINDS, SEVERITIES
from ..datasets.shifts.cifar import CorruptedArrays
from ..datasets.shifts.kinds import check_settings
from ..engine.cli import check_reading_flags
from ..utils.config import CONFIG_DIR, check_fields, type_name
from .model_scores import find_suite_score

FOLDER = CONFIG_DIR / 'suites'
GROUPS = ('near', 'far')


@dataclass(frozen=True)
class Cell:
    """One test set, or one kind and severity of a corrupted set.

    Attributes:
        dataset (dict): The config of the data set, without a pipeline.
        steps (Sequence[dict]): Transforms before the model's own.
        kind (str, optional): The kind of corruption.
        severity (int, optional): 1 to 5.
        is_ood (bool): Whether its images are out of distribution, that is, of
            none of the classes; labels are then ignored.
        is_cropped (bool): Whether its images were resized and cropped before
            the model's test pipeline sees them, so that the pipeline's own
            crop is left out.
    """

    name: str
    dataset: dict
    steps: Sequence[dict] = ()
    kind: str | None = None
    severity: int | None = None
    is_ood: bool = False
    # Not in `repr`: sets on disk record the `repr` that older versions had.
    is_cropped: bool = field(default=False, repr=False)

    def __str__(self) -> str:
        if self.kind is None:
            return self.name
        return f'{self.name}, {self.kind}, severity {self.severity}'


@dataclass(frozen=True)
class SuiteSet:
    """A test set of a suite.

    Args:
        name (str): Its name in tables.
        dataset (dict): Its config, without a pipeline: images go through the
            model's own test pipeline. A data set with the arguments ``kind``
            and ``severity`` is tested with all of them.
        steps (Sequence[dict]): Transforms before the model's own, such as a
            resize of images of other sizes. If they crop, the model's own
            pipeline does not crop again. Defaults to none.
        kinds (Sequence[str]): Kinds of corruption. Defaults to all that the
            data set has.
        severities (Sequence[int]): Defaults to 1 to 5.
        make (bool): Whether to make a corrupted set that is missing from the
            clean one, after ``steps``. Defaults to False.
        settings (str, optional): How strong the severities of a set are that
            is made, ``'imagenet-c'`` or ``'cifar-c'``. Defaults to None:
            ImageNet-C's.
        images (int, optional): How many of the clean images are corrupted to
            make the set, the same for all kinds, with the classes balanced as
            far as possible. Defaults to None: all.
        group (str, optional): Whether an out-of-distribution set is
            ``'near'`` (other classes of the same kind of images) or
            ``'far'``. Reports show the mean of each group. Defaults to None:
            in neither.
    """

    name: str
    dataset: dict
    steps: Sequence[dict] = ()
    kinds: Sequence[str] | None = None
    severities: Sequence[int] = SEVERITIES
    make: bool = False
    settings: str | None = None
    images: int | None = None
    group: str | None = None

    @property
    def is_corrupted(self) -> bool:
        """Whether it has kinds and severities of corruption."""
        kind = DATASETS.get(self.dataset['type'])
        return hasattr(kind, 'KINDS') and 'kind' not in self.dataset

    def as_ood(self) -> Cell:
        """The set, with its images marked as out of distribution."""
        return replace(next(self.cells()), is_ood=True)

    @property
    def is_cropped(self) -> bool:
        """Whether images are cropped, by ``steps`` or before publication."""
        kind = DATASETS.get(self.dataset['type'])
        return getattr(kind, 'IS_CROPPED', False) or any(
            'Crop' in type_name(step) for step in self.steps
        )

    def cells(self) -> Iterator[Cell]:
        """Yield the set, or each kind and severity of a corrupted set."""
        cropped = self.is_cropped
        if not self.is_corrupted:
            yield Cell(self.name, self.dataset, self.steps, is_cropped=cropped)
            return
        # images of a set that was made have gone through the steps already
        steps = () if self.make else self.steps
        for kind in self.all_kinds:
            for severity in self.severities:
                config = dict(self.dataset, kind=kind, severity=severity)
                yield Cell(
                    self.name,
                    config,
                    steps,
                    kind,
                    severity,
                    is_cropped=cropped,
                )

    @property
    def all_kinds(self) -> tuple[str, ...]:
        """The kinds of corruption it is tested with."""
        return tuple(self.kinds or DATASETS.get(self.dataset['type']).KINDS)


@dataclass(frozen=True)
class HeldOut:
    """Clean images that are only used for fitting, never for testing.

    Args:
        share (float): The share of the clean set, drawn at random. Defaults
            to 0.1.
        seed (int): The seed of the draw. Defaults to 0.
    """

    share: float = 0.1
    seed: int = 0

    def __post_init__(self):
        if not 0 < self.share < 1:
            raise ValueError(
                'Expected `share` of `held_out` to be between 0 '
                f'and 1, but got {self.share}. Change it.'
            )

    def rows(self, count: int, held_out: bool) -> np.ndarray:
        """The ascending positions of the images that are held out, or not.

        Args:
            count (int): The number of images of the set.
            held_out (bool): Whether to return those that are held out.
        """
        drawn = np.random.default_rng(self.seed).permutation(count)
        size = max(1, round(self.share * count))
        return np.sort(drawn[:size] if held_out else drawn[size:])


@dataclass(frozen=True)
class Suite:
    """The test sets that models are measured on.

    Args:
        name (str): The name that output folders have.
        title (str): The name in tables and figures.
        clean (SuiteSet): The in-distribution test set.
        shifts (Sequence[SuiteSet]): Sets of the same classes, corrupted or
            from another source.
        ood (Sequence[SuiteSet]): Out-of-distribution sets.
        held_out (HeldOut): The clean images that temperatures and so on are
            fitted on.
    """

    name: str
    title: str
    clean: SuiteSet
    shifts: Sequence[SuiteSet] = ()
    ood: Sequence[SuiteSet] = ()
    held_out: HeldOut = HeldOut()

    @property
    def sets(self) -> tuple[SuiteSet, ...]:
        """All test sets."""
        return (self.clean, *self.shifts, *self.ood)

    @property
    def num_cells(self) -> int:
        """The number of sets, kinds and severities that are measured."""
        shifts = sum(len(list(one.cells())) for one in self.shifts)
        return 1 + shifts + len(self.ood)


DEFAULT_SCORES = (
    'energy',
    'max_logit',
    'msp',
    'entropy',
    'anchor_score',
    'spread',
)


@dataclass(frozen=True)
class Settings:
    """The settings of a run: batch size, device, scores and so on.

    Args:
        workers (int): The number of threads that read images, and of
            processes that corrupt them. Defaults to 2.
        device (str): The device of the models. Defaults to ``'cpu'``.
        scores (Sequence[str]): Anomaly scores. The first one is the default
            of the report. See
            :func:`~mmanchor.suite.model_scores.find_suite_score`.
        temperature (bool): Whether to fit temperatures on held-out images,
            and to report results with them as well. Defaults to False.
        mce (bool): Whether to report the mean corruption error relative to
            AlexNet, for ImageNet-C. Defaults to False.
        single_references (bool): Whether to measure the accuracy with each of
            K references alone as well. Defaults to False.
        fit_share (float): The share of the training images that scores such
            as ``'KNN'`` are fitted on. Defaults to 0.1.
        vector_scaling (bool): Whether to fit a weight and a bias for each
            class on held-out images, and to report results with them as well.
            Defaults to False.
        coverage (float, optional): The share of images whose prediction set
            is to contain the label. The sets are fitted on held-out images.
            Defaults to None: there are no prediction sets.
        max_error (float, optional): The largest error of trusted answers. The
            threshold is fitted on held-out images. Defaults to None: there is
            no threshold.
        images (bool): Whether to store references, which are training images
            as a rule, for the page. Defaults to True.

    Raises:
        ImportError: A score is one of pytorch-ood's, which is not installed.
        ValueError: There is no such score, or a number is out of range.
    """

    batch_size: int = 256
    workers: int = 2
    device: str = 'cpu'
    amp: bool = False
    scores: Sequence[str] = DEFAULT_SCORES
    temperature: bool = False
    mce: bool = False
    single_references: bool = False
    fit_share: float = 0.1
    vector_scaling: bool = False
    coverage: float | None = None
    max_error: float | None = None
    images: bool = True

    def __post_init__(self):
        check_reading_flags(self.batch_size, self.workers)
        if not 0 < self.fit_share <= 1:
            raise ValueError(
                'Expected --fit-share to be above 0 and at most 1, but got '
                f'{self.fit_share}. Change it.'
            )
        for name in ('coverage', 'max_error'):
            value = getattr(self, name)
            if value is not None and not 0 < value < 1:
                raise ValueError(
                    f'Expected --{name.replace("_", "-")} to be between 0 and '
                    f'1, but got {value}. Change it.'
                )
        for name in self.scores:
            find_suite_score(name)

    @property
    def holds_out(self) -> bool:
        """Whether some clean images are only used for fitting."""
        return (
            self.temperature
            or self.vector_scaling
            or self.coverage is not None
            or self.max_error is not None
        )


def _check_set(one: SuiteSet, path: Path, is_ood: bool) -> None:
    """Raise if an argument does not fit the set."""
    kind = one.dataset['type']
    if one.make and not (
        issubclass(DATASETS.get(kind), CorruptedArrays) and one.is_corrupted
    ):
        raise ValueError(
            f'Expected {one.name} in {path}, which is to be made, to be '
            f'CorruptedArrays of all kinds, but got {kind}. Change its '
            '`type`, or drop `make`.'
        )
    for name in ('settings', 'images'):
        if getattr(one, name) is not None and not one.make:
            raise ValueError(
                f'Expected `{name}` of a set that is made, but got it for '
                f'{one.name} in {path}, which is read as it is. Add '
                '`make=True`, or drop it.'
            )
    if one.settings is not None:
        check_settings(one.settings)
    if one.images is not None and one.images < 1:
        raise ValueError(
            f'Expected `images` of {one.name} in {path} to be at least 1, but '
            f'got {one.images}. Change it.'
        )
    if one.group is not None and not (is_ood and one.group in GROUPS):
        raise ValueError(
            f"Expected `group` to be 'near' or 'far', and of a set in "
            f'`ood`, but got {one.group!r} for {one.name} in {path}. '
            'Change it, or drop it.'
        )
    if is_ood and one.is_corrupted:
        raise ValueError(
            f'Expected `dataset` of {one.name} in {path} to be one set '
            'of images, but got all kinds of corruption. Add `kind` and '
            '`severity`.'
        )


def load_suite(name: str | Path, data_root: str | Path = 'data') -> Suite:
    """Read a suite of mmanchor, or a file of your own.

    The file is an MMEngine config with the arguments of :class:`Suite`, except
    for its name. Each set is a dict with the arguments of :class:`SuiteSet`.
    Names that begin with ``_`` are ignored.

    Args:
        name (str | Path): ``'cifar10'``, for example, or a Python file.
        data_root (str | Path): The folder that a relative ``data_root`` of a
            data set starts from. Defaults to ``'data'``.

    Returns:
        Suite: The suite. Whether its data sets exist is not checked.

    Raises:
        FileNotFoundError: There is no such suite.
        ValueError: The file has an unknown name or lacks one, two sets have
            the same name, or a set can't be made.

    Example:
        >>> load_suite('digits').clean.name
        'Digits'
    """
    known = sorted(path.stem for path in FOLDER.glob('*.py'))
    path = FOLDER / f'{name}.py' if name in known else Path(name)
    if not path.is_file():
        raise FileNotFoundError(
            f'Expected a suite among {", ".join(known)}, or a Python file of '
            f'your own, but got {str(name)!r}. Change it.'
        )
    config = {
        key: value
        for key, value in Config.fromfile(path).to_dict().items()
        if not key.startswith('_') and key != 'custom_imports'
    }
    config.setdefault('title', path.stem)
    check_fields(config, Suite, path, given=('name',))

    def make_set(of: dict, is_ood: bool = False) -> SuiteSet:
        check_fields(of, SuiteSet, path)
        dataset = dict(of['dataset'])
        if DATASETS.get(str(dataset.get('type'))) is None:
            raise ValueError(
                f'Expected `dataset` of {of["name"]} in {path} to have a '
                f'registered type, but got {dataset.get("type")!r}. Change '
                'it, or name its module in `custom_imports`.'
            )
        if 'data_root' in dataset:
            dataset['data_root'] = str(
                Path(data_root).expanduser()
                / Path(dataset['data_root']).expanduser()
            )
        made = SuiteSet(**{**of, 'dataset': dataset})
        _check_set(made, path, is_ood)
        return made

    held_out = config.get('held_out', {})
    check_fields(held_out, HeldOut, path)
    suite = Suite(
        path.stem,
        config['title'],
        make_set(config['clean']),
        tuple(make_set(of) for of in config.get('shifts', ())),
        tuple(make_set(of, is_ood=True) for of in config.get('ood', ())),
        held_out=HeldOut(**held_out),
    )
    names = [one.name for one in suite.sets]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise ValueError(
            f'Expected every set of {path} to have a name of its '
            f'own, but got two called {min(twice)!r}. Change '
            'one.'
        )
    return suite


def set_for_mce(suite: Suite) -> SuiteSet:
    """Find ImageNet-C, with all 15 kinds and 5 severities, in a suite.

    Raises:
        ValueError: The suite lacks it, or some of its kinds or severities.
    """
    for one in suite.shifts:
        if (
            one.dataset['type'].endswith('ImageNetC')
            and set(C_KINDS) <= set(one.all_kinds)
            and set(one.severities) == set(SEVERITIES)
        ):
            return one
    raise ValueError(
        f'Expected a suite with ImageNet-C, {len(C_KINDS)} kinds or more at '
        f'{len(SEVERITIES)} severities, for --mce, but got {suite.title}. '
        'Change the suite, or leave --mce out.'
    )
