"""What a suite tests on, as its file says."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from mmengine.config import Config
from mmpretrain.registry import DATASETS

from ..datasets import SEVERITIES
from ..datasets.shifts.cifar import CorruptedArrays
from ..datasets.shifts.kinds import check_settings
from ..utils.config import CONFIG_DIR, check_fields, type_name

FOLDER = CONFIG_DIR / 'suites'
GROUPS = ('near', 'far')


@dataclass(frozen=True)
class Cell:
    """One data set to test on; of a corrupted set, a kind and a severity.

    Attributes:
        name (str): The set's.
        dataset (dict): The config of the data set, without a pipeline.
        steps (Sequence[dict]): Transforms before the model's own.
        kind (str, optional): The kind of corruption.
        severity (int, optional): 1 to 5.
        is_ood (bool): Whether its images are of no class, whatever labels
            they have.
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
    # records of sets that were made have the `repr` of before
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
            model's own test pipeline. One that takes ``kind`` and
            ``severity`` stands for all of them.
        steps (Sequence[dict]): Transforms before the model's own, such as a
            resize of images of other sizes. Where they crop, the model's
            pipeline resizes the squares they leave without a crop of its
            own. Defaults to none.
        kinds (Sequence[str]): Kinds of corruption. Defaults to all that the
            data set has.
        severities (Sequence[int]): Defaults to 1 to 5.
        make (bool): Whether a corrupted set that is not there is made from
            the clean one, after ``steps``. Defaults to False.
        settings (str, optional): Of a set that is made: how strong its
            severities are, ``'imagenet-c'`` or ``'cifar-c'``. Defaults to
            None: ImageNet-C's.
        images (int, optional): Of a set that is made: how many of the clean
            images are corrupted, as many of each class as possible, the same
            for all kinds. Defaults to None: all.
        group (str, optional): Of a set out of distribution: whether its
            images are ``'near'`` to those in distribution, which have other
            classes of the same kind, or ``'far'``. Reports have the mean of
            each group. Defaults to None: in neither.
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
        """Its images, as images of no class."""
        return replace(next(self.cells()), is_ood=True)

    @property
    def is_cropped(self) -> bool:
        """Whether images are cropped by ``steps``, or as published."""
        kind = DATASETS.get(self.dataset['type'])
        return getattr(kind, 'IS_CROPPED', False) or any(
            'Crop' in type_name(step) for step in self.steps
        )

    def cells(self) -> Iterator[Cell]:
        """What is tested by itself."""
        cropped = self.is_cropped
        if not self.is_corrupted:
            yield Cell(self.name, self.dataset, self.steps, is_cropped=cropped)
            return
        # what was made went through the steps already
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
    """Clean images that temperatures are fitted on, and nothing else.

    Args:
        share (float): Of the clean set, drawn at random. Defaults to 0.1.
        seed (int): Of the draw. Defaults to 0.
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
        """Which of a number of images are held out, or which are not.

        Shape:
            - output: (n,), ascending
        """
        drawn = np.random.default_rng(self.seed).permutation(count)
        size = max(1, round(self.share * count))
        return np.sort(drawn[:size] if held_out else drawn[size:])


@dataclass(frozen=True)
class Suite:
    """Test sets that models are measured on.

    Args:
        name (str): As files are named after it.
        title (str): As tables and figures call it.
        clean (SuiteSet): The test set, in distribution.
        shifts (Sequence[SuiteSet]): Sets of the same classes that differ.
        ood (Sequence[SuiteSet]): Sets of images of no class.
        held_out (HeldOut): What temperatures are fitted on.
    """

    name: str
    title: str
    clean: SuiteSet
    shifts: Sequence[SuiteSet] = ()
    ood: Sequence[SuiteSet] = ()
    held_out: HeldOut = HeldOut()

    @property
    def sets(self) -> tuple[SuiteSet, ...]:
        """All of them."""
        return (self.clean, *self.shifts, *self.ood)


def _check_making(one: SuiteSet, path: Path) -> None:
    """Refuse what can't be asked of a set."""
    asked = [
        name
        for name in ('settings', 'images')
        if getattr(one, name) is not None
    ]
    if asked and not one.make:
        raise ValueError(
            f'Expected `{asked[0]}` of a set that is made, but got it for '
            f'{one.name} in {path}, which is read as it is. Add `make=True`, '
            'or drop it.'
        )
    if one.settings is not None:
        check_settings(one.settings)
    if one.images is not None and one.images < 1:
        raise ValueError(
            f'Expected `images` of {one.name} in {path} to be at least 1, but '
            f'got {one.images}. Change it.'
        )


def load_suite(name: str | Path, data_root: str | Path = 'data') -> Suite:
    """Read a suite that comes with mmanchor, or a file of one's own.

    A file is an MMEngine config with the arguments of :class:`Suite` but for
    its name, each set a dict with those of :class:`SuiteSet`. Names that
    begin with ``_`` are the file's own.

    Args:
        name (str | Path): ``'cifar10'``, for example, or a Python file.
        data_root (str | Path): Where a relative ``data_root`` of a data set
            begins. Defaults to ``'data'``.

    Returns:
        Suite: With unknown names refused, but no data set looked for.

    Raises:
        FileNotFoundError: There is no such suite.
        ValueError: The file has an unknown name or lacks one, two sets are
            called the same, or one can't be made.

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

    def make_set(of: dict) -> SuiteSet:
        check_fields(of, SuiteSet, path)
        dataset = dict(of['dataset'])
        kind = DATASETS.get(str(dataset.get('type')))
        if kind is None:
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
        if made.make and not (
            issubclass(kind, CorruptedArrays) and made.is_corrupted
        ):
            raise ValueError(
                f'Expected {made.name} in {path}, which is to be made, to be '
                'CorruptedArrays of all kinds, but got '
                f'{dataset["type"]}. Change its `type`, or drop `make`.'
            )
        _check_making(made, path)
        if made.group is not None and (
            of not in config.get('ood', ()) or made.group not in GROUPS
        ):
            raise ValueError(
                f"Expected `group` to be 'near' or 'far', and of a set in "
                f'`ood`, but got {made.group!r} for {made.name} in {path}. '
                'Change it, or drop it.'
            )
        return made

    def make_ood(of: dict) -> SuiteSet:
        made = make_set(of)
        if made.is_corrupted:
            raise ValueError(
                f'Expected `dataset` of {made.name} in {path} to be one set '
                'of images, but got all kinds of corruption. Add `kind` and '
                '`severity`.'
            )
        return made

    held_out = config.get('held_out', {})
    check_fields(held_out, HeldOut, path)
    suite = Suite(
        path.stem,
        config['title'],
        make_set(config['clean']),
        tuple(make_set(of) for of in config.get('shifts', ())),
        tuple(make_ood(of) for of in config.get('ood', ())),
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
