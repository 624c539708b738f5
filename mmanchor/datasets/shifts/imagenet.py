"""ImageNet's shifted test sets, in the layout they are published in."""

from pathlib import Path

from mmpretrain.datasets import ImageNet
from mmpretrain.registry import DATASETS

from ..image_folders import ClassFolders, listed
from .imagenet_wnids import imagenet_wnids
from .kinds import (
    ALL_C_KINDS,
    IMAGENET_C,
    IMAGENET_C_BAR_KINDS,
    check_kind,
    check_severity,
)


class ImageNetFolders(ClassFolders):
    """Class folders named after some of ImageNet's 1,000 classes.

    Labels are indices among the 1,000. Which of them the set has is in
    ``kept_classes`` and, for metrics, in ``metainfo['kept_classes']``: of a
    set with fewer than all, only their logits are compared.

    Args:
        data_root (str): The folder with the class folders.
        **kwargs: Arguments of :class:`ClassFolders`.

    Raises:
        FileNotFoundError: The set is not there.
        ValueError: A class folder is missing or one too many, or has no
            image.
    """

    METAINFO = ImageNet.METAINFO
    LAYOUT = 'DATA_ROOT/WNID/*.JPEG'
    subset = False

    @property
    def expected(self) -> tuple[str, ...]:
        """The class folders of the set."""
        return imagenet_wnids()

    @property
    def kept_classes(self) -> tuple[int, ...]:
        """The indices of the classes the set has, in ascending order."""
        self.full_init()
        return self._metainfo['kept_classes']

    def index_of(self, name: str) -> int:
        """The index of a class folder among the 1,000 classes."""
        return imagenet_wnids().index(name)

    def labels_of(self, names: list[str]) -> dict[str, int]:
        lacking = set() if self.subset else set(self.expected) - set(names)
        extra = set(names) - set(self.expected)
        if lacking or extra:
            told = [
                f'{len(some)} {word} ({listed(some)})'
                for some, word in ((lacking, 'missing'), (extra, 'unknown'))
                if some
            ]
            raise ValueError(
                f'Expected {self.folder} to hold the class folders of '
                f'{self.NAME}, {len(self.expected)} in all, but got '
                f'{" and ".join(told)}. Extract the set again, or change '
                '`data_root`.'
            )
        labels = {name: self.index_of(name) for name in names}
        self._metainfo['kept_classes'] = tuple(sorted(labels.values()))
        return labels


@DATASETS.register_module()
class ImageNetC(ImageNetFolders):
    """ImageNet-C: one kind of corruption at one severity.

    Args:
        data_root (str): The folder with the folders of kinds.
        kind (str): One of ``ALL_C_KINDS``.
        severity (int): 1 to 5.
        subset (bool): Whether fewer than all class folders may be there.
            Defaults to False.
        **kwargs: Arguments of :class:`ImageNetFolders`.

    Raises:
        FileNotFoundError: The set, or this kind, is not there.
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
        self.kind = check_kind(kind, self.KINDS, self.NAME)
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
    """ImageNet-R: renditions of 200 classes.

    Its arguments are those of :class:`ImageNetFolders`.

    Source: D. Hendrycks et al., The Many Faces of Robustness, ICCV 2021.
    """

    NAME = 'ImageNet-R'

    @property
    def expected(self) -> tuple[str, ...]:
        return imagenet_wnids('r')


@DATASETS.register_module()
class ImageNetA(ImageNetFolders):
    """ImageNet-A: images of 200 classes that a ResNet-50 got wrong.

    Its arguments are those of :class:`ImageNetFolders`.

    Source: D. Hendrycks et al., Natural Adversarial Examples, CVPR 2021.
    """

    NAME = 'ImageNet-A'

    @property
    def expected(self) -> tuple[str, ...]:
        return imagenet_wnids('a')


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

    They lie in the folders of classes they were taken for, which are in
    ``kept_classes``. Its arguments are those of :class:`ImageNetFolders`.

    Source: D. Hendrycks et al., Natural Adversarial Examples, CVPR 2021.
    """

    NAME = 'ImageNet-O'
    subset = True

    def labels_of(self, names: list[str]) -> dict[str, int]:
        return dict.fromkeys(super().labels_of(names), -1)
