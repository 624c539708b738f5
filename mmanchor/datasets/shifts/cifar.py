"""CIFAR's shifted test sets, in their published layouts."""

from pathlib import Path

import numpy as np
from mmpretrain.datasets import CIFAR10, CIFAR100, BaseDataset
from mmpretrain.registry import DATASETS

from ..mapped_arrays import MappedImages, open_labels
from .kinds import (
    ALL_C_KINDS,
    CIFAR_C,
    CIFAR_C_BAR_KINDS,
    SEVERITIES,
    check_corruption_kind,
    check_severity,
    missing_set_error,
)

ORDERS = ('rgb', 'bgr')


class ImageArrays(BaseDataset):
    """Images and labels in ``.npy`` files, of which samples are read singly.

    Args:
        data_root (str): The folder that contains the files.
        channel_order (str): ``'rgb'`` for preprocessors with
            ``to_rgb=False``, as MMPretrain's ``CIFAR10`` and ``CIFAR100``
            give images; or ``'bgr'`` for ``to_rgb=True``, as
            ``LoadImageFromFile`` does. Defaults to ``'rgb'``.
        **kwargs: Arguments of MMPretrain's ``BaseDataset``, such as
            ``pipeline``, which must not load images: ``img`` has them
            already.

    Raises:
        FileNotFoundError: The data set does not exist.
        ValueError: Its files differ from the published ones.
    """

    NAME = 'images in arrays'
    LAYOUT = ''
    SIZE = None

    def __init__(self, data_root: str, channel_order: str = 'rgb', **kwargs):
        if channel_order not in ORDERS:
            raise ValueError(
                "Expected `channel_order` to be 'rgb' or 'bgr', "
                f'but got {channel_order!r}. Change `channel_order`.'
            )
        self.channel_order = channel_order
        # Serialising rows and labels would take longer than reading them.
        kwargs = dict(dict(test_mode=True, serialize_data=False), **kwargs)
        super().__init__(ann_file='', data_root=str(data_root), **kwargs)

    def file(self, name: str) -> Path:
        """Get the path of one of the set's files; raise if it is missing."""
        path = Path(self.data_root).expanduser() / name
        if not path.is_file():
            raise missing_set_error(self.NAME, self.LAYOUT, path)
        return path

    def labels_in(self, name: str) -> np.ndarray:
        """Read the labels in one of the set's files.

        Shape:
            - output: (N,), int64
        """
        return open_labels(
            self.file(name),
            None if self.CLASSES is None else len(self.CLASSES),
        )

    def rows_and_labels(self) -> tuple[range, np.ndarray]:
        """Get the rows of ``self.images`` to use, and their labels."""
        raise NotImplementedError

    def load_data_list(self) -> list[dict]:
        """Load the row and the label of each sample."""
        self._rows, self.labels = self.rows_and_labels()
        return [
            dict(row=row, gt_label=int(label))
            for row, label in zip(self._rows, self.labels, strict=True)
        ]

    def whole_arrays(self) -> np.ndarray | None:
        """Map all images from disk; None if only some of them are samples.

        Shape:
            - output: (N, H, W, 3), uint8, in RGB
        """
        self.full_init()
        if len(self) != len(self._rows):  # `indices` chose some samples
            return None
        return self.images.mapped(self._rows)

    def get_data_info(self, idx: int) -> dict:
        """Get a sample with its image, (H, W, 3) in uint8."""
        info = super().get_data_info(idx)
        image = self.images[info['row']]
        if self.channel_order == 'bgr':
            image = np.ascontiguousarray(image[..., ::-1])
        info['img'] = image
        return info


@DATASETS.register_module()
class CorruptedArrays(ImageArrays):
    """An array of one kind of corruption at one severity.

    ``tools/make_corruptions.py`` writes such sets from an array of images of
    one size, in the layout of CIFAR-10-C. ``KIND.npy`` has the shape
    (5·N, H, W, 3) in uint8 and contains severities 1 to 5 in this order.
    ``labels.npy`` contains 5·N labels, or N labels that apply to all five
    severities. Images stay on disk until they are needed.

    Args:
        data_root (str): The folder that contains the files.
        kind (str): One of ``ALL_C_KINDS``.
        severity (int): 1 to 5.
        **kwargs: Arguments of :class:`ImageArrays`.

    Raises:
        FileNotFoundError: The set does not exist, or lacks this kind.
        ValueError: An argument is out of range, or a file has another layout.
    """

    NAME = 'a set of corrupted images'
    LAYOUT = (
        'DATA_ROOT/KIND.npy, (5·N, H, W, 3) uint8, and DATA_ROOT/labels.npy'
    )
    KINDS = ALL_C_KINDS
    SETTINGS: str | None = None  # strengths of a published set

    def __init__(self, data_root: str, kind: str, severity: int, **kwargs):
        self.kind = check_corruption_kind(kind, self.KINDS, self.NAME)
        self.severity = check_severity(severity)
        super().__init__(data_root, **kwargs)

    def rows_and_labels(self) -> tuple[range, np.ndarray]:
        self.images = MappedImages(self.file(f'{self.kind}.npy'), self.SIZE)
        labels = self.labels_in('labels.npy')
        size, rest = divmod(len(self.images), len(SEVERITIES))
        if rest or len(labels) not in (size, len(self.images)):
            raise ValueError(
                f'Expected {self.images.path} to hold five severities, with '
                'a label in labels.npy for each image, or for each image of '
                f'one severity, but got {len(self.images)} images and '
                f'{len(labels)} labels. Download or write both again.'
            )
        start = (self.severity - 1) * size
        rows = range(start, start + size)
        return rows, labels if len(labels) == size else labels[rows]


class PublishedArrays(CorruptedArrays):
    """Base class of CIFAR's published corrupted sets."""

    LAYOUT = (
        'DATA_ROOT/KIND.npy, (50000, 32, 32, 3) uint8, and '
        'DATA_ROOT/labels.npy'
    )
    SIZE = 32


@DATASETS.register_module()
class CIFAR10C(PublishedArrays):
    """CIFAR-10-C; its arguments are those of :class:`CorruptedArrays`.

    Source: D. Hendrycks and T. Dietterich, Benchmarking Neural Network
    Robustness to Common Corruptions and Perturbations, ICLR 2019.
    """

    NAME = 'CIFAR-10-C'
    METAINFO = CIFAR10.METAINFO
    SETTINGS = CIFAR_C


@DATASETS.register_module()
class CIFAR100C(PublishedArrays):
    """CIFAR-100-C; see :class:`CIFAR10C`."""

    NAME = 'CIFAR-100-C'
    METAINFO = CIFAR100.METAINFO
    SETTINGS = CIFAR_C


@DATASETS.register_module()
class CIFAR10CBar(PublishedArrays):
    """CIFAR-10-C̄, whose kinds are ``CIFAR_C_BAR_KINDS``.

    Its arguments are those of :class:`CorruptedArrays`.

    Source: E. Mintun, A. Kirillov and S. Xie, On Interaction Between
    Augmentations and Corruptions in Natural Corruption Robustness, NeurIPS
    2021.
    """

    NAME = 'CIFAR-10-C̄ (CIFAR-10-C-bar)'
    METAINFO = CIFAR10.METAINFO
    KINDS = CIFAR_C_BAR_KINDS


@DATASETS.register_module()
class CIFAR100CBar(CIFAR10CBar):
    """CIFAR-100-C̄; see :class:`CIFAR10CBar`."""

    NAME = 'CIFAR-100-C̄ (CIFAR-100-C-bar)'
    METAINFO = CIFAR100.METAINFO


@DATASETS.register_module()
class CIFAR10_1(ImageArrays):
    """CIFAR-10.1: 2,000 new test images of CIFAR-10's classes.

    Args:
        data_root (str): The folder that contains ``cifar10.1_v6_data.npy``
            and ``cifar10.1_v6_labels.npy``.
        version (str): ``'v6'``, or ``'v4'`` with 2,021 images. Defaults to
            ``'v6'``.
        **kwargs: Arguments of :class:`ImageArrays`.

    Raises:
        FileNotFoundError: The data set does not exist.
        ValueError: ``version`` is unknown, or a file differs from the
            published one.

    Source: B. Recht, R. Roelofs, L. Schmidt and V. Shankar, Do CIFAR-10
    Classifiers Generalize to CIFAR-10?, 2018.
    """

    NAME = 'CIFAR-10.1'
    LAYOUT = (
        'DATA_ROOT/cifar10.1_v6_data.npy, (2000, 32, 32, 3) uint8, and '
        'DATA_ROOT/cifar10.1_v6_labels.npy'
    )
    METAINFO = CIFAR10.METAINFO
    SIZE = 32

    def __init__(self, data_root: str, version: str = 'v6', **kwargs):
        if version not in ('v4', 'v6'):
            raise ValueError(
                "Expected `version` to be 'v6' or 'v4', but got "
                f'{version!r}. Change `version`.'
            )
        self.version = version
        super().__init__(data_root, **kwargs)

    def rows_and_labels(self) -> tuple[range, np.ndarray]:
        stem = f'cifar10.1_{self.version}'
        self.images = MappedImages(self.file(f'{stem}_data.npy'), self.SIZE)
        labels = self.labels_in(f'{stem}_labels.npy')
        if len(labels) != len(self.images):
            raise ValueError(
                f'Expected as many labels in {stem}_labels.npy as '
                f'{self.images.path} has images, {len(self.images)}, but got '
                f'{len(labels)}. Download both again.'
            )
        return range(len(labels)), labels
