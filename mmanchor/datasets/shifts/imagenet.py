"""ImageNet's shifted test sets, in their published layouts."""

from functools import lru_cache
from pathlib import Path

from mmpretrain.datasets import ImageNet
from mmpretrain.registry import DATASETS

from ...utils.names import shorten_list
from ..image_folders import ClassFolders
from .kinds import (
    ALL_C_KINDS,
    IMAGENET_C,
    IMAGENET_C_BAR_KINDS,
    check_corruption_kind,
    check_severity,
)

WNID_FOLDER = Path(__file__).parent / 'wnids'


@lru_cache
def imagenet_wnids(subset: str = '') -> tuple[str, ...]:
    """List the WordNet ids of ImageNet's classes, in the order of indices.

    They are sorted, as are the class folders from which libraries number
    classes.

    Args:
        subset (str): ``''`` for all 1,000 classes; ``'r'`` or ``'a'`` for the
            200 of ImageNet-R or ImageNet-A. Defaults to ``''``.

    Returns:
        tuple[str]: The ids, such as ``'n01440764'``.

    Raises:
        ValueError: ``subset`` is another word.

    Example:
        >>> wnids = imagenet_wnids()
        >>> len(wnids), wnids[0], len(imagenet_wnids('r'))
        (1000, 'n01440764', 200)

    Source: ILSVRC 2012's synsets; the subsets are the class folders of
    ImageNet-R and ImageNet-A (D. Hendrycks et al., 2021).
    """
    if subset not in ('', 'a', 'r'):
        raise ValueError(
            "Expected `subset` to be '', 'a' or 'r', but got "
            f'{subset!r}. Change `subset`.'
        )
    name = f'imagenet_{subset}' if subset else 'imagenet'
    path = WNID_FOLDER / f'{name}.txt'
    return tuple(path.read_text(encoding='utf-8').split())


class ImageNetFolders(ClassFolders):
    """Class folders named after some of ImageNet's 1,000 classes.

    Labels are indices among the 1,000 classes. ``kept_classes`` lists those
    that the set has. Metrics read them from ``metainfo['kept_classes']`` and
    compare only their logits.

    Args:
        data_root (str): The folder that contains the class folders.
        **kwargs: Arguments of :class:`ClassFolders`.

    Raises:
        FileNotFoundError: The data set does not exist.
        ValueError: A class folder is missing, unknown or empty.
    """

    METAINFO = ImageNet.METAINFO
    LAYOUT = 'DATA_ROOT/WNID/*.JPEG'
    WNIDS = ''  # the subset of the classes that the set has
    subset = False

    @property
    def expected(self) -> tuple[str, ...]:
        """The class folders that the set must have."""
        return imagenet_wnids(self.WNIDS)

    @property
    def kept_classes(self) -> tuple[int, ...]:
        """The indices of the set's classes, in ascending order."""
        self.full_init()
        return self._metainfo['kept_classes']

    def index_of(self, name: str) -> int:
        """Get the index of a class folder among the 1,000 classes."""
        return imagenet_wnids().index(name)

    def labels_of(self, names: list[str]) -> dict[str, int]:
        lacking = set() if self.subset else set(self.expected) - set(names)
        extra = set(names) - set(self.expected)
        if lacking or extra:
            problems = [
                f'{len(some)} {word} ({shorten_list(sorted(some), 5)})'
                for some, word in ((lacking, 'missing'), (extra, 'unknown'))
                if some
            ]
            raise ValueError(
                f'Expected {self.folder} to contain the class folders of '
                f'{self.NAME}, {len(self.expected)} in all, but got '
                f'{" and ".join(problems)}. Extract the set again, or change '
                '`data_root`.'
            )
        labels = {name: self.index_of(name) for name in names}
        self._metainfo['kept_classes'] = tuple(sorted(labels.values()))
        return labels


@DATASETS.register_module()
class ImageNetC(ImageNetFolders):
    """ImageNet-C: one kind of corruption at one severity.

    Args:
        data_root (str): The folder that contains a folder for each kind.
        kind (str): One of ``ALL_C_KINDS``.
        severity (int): 1 to 5.
        subset (bool): Whether some of the class folders may be missing.
            Defaults to False.
        **kwargs: Arguments of :class:`ImageNetFolders`.

    Raises:
        FileNotFoundError: The set does not exist, or lacks this kind.
        ValueError: See :class:`ImageNetFolders`; or an argument is out of
            range.

    Source: D. Hendrycks and T. Dietterich, Benchmarking Neural Network
    Robustness to Common Corruptions and Perturbations, ICLR 2019.
    """

    NAME = 'ImageNet-C'
    LAYOUT = 'DATA_ROOT/KIND/SEVERITY/WNID/*.JPEG'
    KINDS = ALL_C_KINDS
    SETTINGS = IMAGENET_C
    IS_CROPPED = True  # resized to 256 and cropped to 224 as published

    def __init__(
        self,
        data_root: str,
        kind: str,
        severity: int,
        subset: bool = False,
        **kwargs,
    ):
        self.kind = check_corruption_kind(kind, self.KINDS, self.NAME)
        self.severity = check_severity(severity)
        self.subset = subset
        super().__init__(data_root, **kwargs)

    @property
    def folder(self) -> Path:
        return super().folder / self.kind / str(self.severity)


@DATASETS.register_module()
class ImageNetCBar(ImageNetC):
    """ImageNet-C̄, whose kinds are ``IMAGENET_C_BAR_KINDS``.

    Its arguments are those of :class:`ImageNetC`.

    Source: E. Mintun, A. Kirillov and S. Xie, On Interaction Between
    Augmentations and Corruptions in Natural Corruption Robustness, NeurIPS
    2021.
    """

    NAME = 'ImageNet-C̄ (ImageNet-C-bar)'
    KINDS = IMAGENET_C_BAR_KINDS


@DATASETS.register_module()
class ImageNetR(ImageNetFolders):
    """ImageNet-R: artistic renditions of 200 classes.

    Its arguments are those of :class:`ImageNetFolders`.

    Source: D. Hendrycks et al., The Many Faces of Robustness, ICCV 2021.
    """

    NAME = 'ImageNet-R'
    WNIDS = 'r'


@DATASETS.register_module()
class ImageNetA(ImageNetFolders):
    """ImageNet-A: images of 200 classes that a ResNet-50 misclassified.

    Its arguments are those of :class:`ImageNetFolders`.

    Source: D. Hendrycks et al., Natural Adversarial Examples, CVPR 2021.
    """

    NAME = 'ImageNet-A'
    WNIDS = 'a'


@DATASETS.register_module()
class ImageNetSketch(ImageNetFolders):
    """ImageNet-Sketch: sketches of all classes.

    Its arguments are those of :class:`ImageNetFolders`.

    Source: H. Wang, S. Ge, Z. Lipton and E. Xing, Learning Robust Global
    Representations by Penalizing Local Predictive Power, NeurIPS 2019.
    """

    NAME = 'ImageNet-Sketch'


@DATASETS.register_module()
class ImageNetV2(ImageNetFolders):
    """ImageNetV2, any of its three versions: folders ``0`` to ``999``.

    Its arguments are those of :class:`ImageNetFolders`.

    Source: B. Recht, R. Roelofs, L. Schmidt and V. Shankar, Do ImageNet
    Classifiers Generalize to ImageNet?, ICML 2019.
    """

    NAME = 'ImageNetV2'
    LAYOUT = 'DATA_ROOT/INDEX/*.jpeg, INDEX from 0 to 999'

    @property
    def expected(self) -> tuple[str, ...]:
        return tuple(map(str, range(1000)))

    def index_of(self, name: str) -> int:
        return int(name)


@DATASETS.register_module()
class ImageNetO(ImageNetFolders):
    """ImageNet-O: images of no class of ImageNet, all labelled −1.

    Their folders are named after the classes for which a model took them.
    These classes are in ``kept_classes``. The arguments are those of
    :class:`ImageNetFolders`.

    Source: D. Hendrycks et al., Natural Adversarial Examples, CVPR 2021.
    """

    NAME = 'ImageNet-O'
    subset = True

    def labels_of(self, names: list[str]) -> dict[str, int]:
        return dict.fromkeys(super().labels_of(names), -1)
