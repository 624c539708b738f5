"""Finds, checks and opens images in folders."""

import os
import warnings
from collections.abc import Iterator
from pathlib import Path

import cv2
import mmcv
from mmpretrain.datasets import BaseDataset
from mmpretrain.registry import DATASETS
from PIL import Image, ImageOps

from ..utils.names import shorten_list
from .shifts.kinds import (
    ALL_C_KINDS,
    check_corruption_kind,
    check_severity,
    missing_set_error,
)

EXTENSIONS = (
    '.jpg',
    '.jpeg',
    '.png',
    '.ppm',
    '.bmp',
    '.pgm',
    '.tif',
    '.tiff',
    '.webp',
)


def list_images(folder: str | Path) -> list[Path]:
    """List the images in a folder at any depth, as MMPretrain does.

    Links to files and folders are followed. Hidden files and folders, such as
    ``.ipynb_checkpoints``, are ignored. Paths are sorted as text, as in
    ``CustomDataset``.

    Args:
        folder (str | Path): The folder to search.

    Returns:
        list[Path]: The paths that end in one of ``EXTENSIONS``.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for name in ('b.png', 'a.txt', '._b.png'):
        ...         (Path(folder) / name).touch()
        ...     [path.name for path in list_images(folder)]
        ['b.png']
    """
    return sorted(_walk(Path(folder), ()), key=str)


def _walk(folder: Path, parents: tuple[str, ...]) -> Iterator[Path]:
    real = os.path.realpath(folder)
    if real in parents:  # a link to a parent folder would recurse forever
        return
    for path in folder.iterdir():
        if path.name.startswith('.'):
            continue
        if path.is_dir():
            yield from _walk(path, (*parents, real))
        elif path.suffix.lower() in EXTENSIONS and path.is_file():
            yield path


def list_folders(folder: str | Path) -> list[str]:
    """List the names of subfolders, sorted and without hidden ones."""
    return sorted(
        path.name
        for path in Path(folder).iterdir()
        if path.is_dir() and not path.name.startswith('.')
    )


def open_rgb(path: str | Path) -> Image.Image:
    """Open an image file in RGB, rotated according to its EXIF data.

    Images of 16 bits are scaled to 8 bits by MMPretrain's loader, because
    Pillow would clip their values to 255 and make them white.

    Raises:
        ValueError: The file can't be read, exceeds Pillow's size limit, or
            has pixels of neither 8 nor 16 bits.
    """
    try:
        with Image.open(path) as file:
            if file.mode == 'F' or file.mode.startswith('I'):
                return _scaled_to_bytes(path, file.mode)
            return ImageOps.exif_transpose(file).convert('RGB')
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(
            f"Expected {path} to be an image, but got a file that can't be "
            f'read: {error}. Replace or remove the file.'
        ) from error


def _scaled_to_bytes(path: str | Path, mode: str) -> Image.Image:
    try:
        return Image.fromarray(mmcv.imread(str(path), channel_order='rgb'))
    except cv2.error as error:
        raise ValueError(
            f'Expected {path} to have pixels of 8 or 16 bits, but got mode '
            f"{mode} (32 bits), which MMPretrain's loader can't read either. "
            'Convert the file to 8 bits.'
        ) from error


class ClassFolders(BaseDataset):
    """Images in one folder for each class.

    Args:
        data_root (str): The folder that contains the class folders.
        **kwargs: Arguments of MMPretrain's ``BaseDataset``, such as
            ``pipeline``, which starts with ``LoadImageFromFile``.

    Raises:
        FileNotFoundError: The data set does not exist.
        ValueError: Its folders differ from the published ones.
    """

    NAME = 'images in class folders'
    LAYOUT = 'DATA_ROOT/CLASS/*.JPEG'
    empty_classes = False  # whether a class folder may have no image

    def __init__(self, data_root: str, **kwargs):
        kwargs = dict(dict(test_mode=True), **kwargs)
        super().__init__(ann_file='', data_root=str(data_root), **kwargs)

    @property
    def folder(self) -> Path:
        """The folder that contains the class folders."""
        return Path(self.data_root).expanduser()

    def labels_of(self, names: list[str]) -> dict[str, int]:
        """Map the name of each existing class folder to its label."""
        if self.CLASSES is None:
            self._metainfo['classes'] = tuple(names)
        if len(names) != len(self.CLASSES):
            raise ValueError(
                f'Expected {len(self.CLASSES)} class folders, one for each '
                f'class, but got {len(names)} in {self.folder}. Add or remove '
                'folders, or change `classes`.'
            )
        return {name: label for label, name in enumerate(names)}

    def load_data_list(self) -> list[dict]:
        """Load the path and the label of each image."""
        if not self.folder.is_dir():
            raise missing_set_error(self.NAME, self.LAYOUT, self.folder)
        names = list_folders(self.folder)
        if not names:
            raise ValueError(
                f'Expected {self.folder} to contain {self.NAME} with the '
                f'layout {self.LAYOUT}, but got no class folder. Change '
                '`data_root`.'
            )
        samples, empty = [], []
        for name, label in self.labels_of(names).items():
            images = list_images(self.folder / name)
            samples += [
                dict(img_path=str(path), gt_label=label) for path in images
            ]
            if not images:
                empty.append(name)
        if empty and not (self.empty_classes and samples):
            raise ValueError(
                f'Expected images in every class folder of '
                f'{self.folder}, but got none in '
                f'{shorten_list(empty, 5)}. Extract the set again.'
            )
        if empty:
            warnings.warn(
                f'{self.folder} has no images of {shorten_list(empty, 5)}. '
                'These folders still count as classes, as in '
                "MMPretrain's CustomDataset."
            )
        return samples


@DATASETS.register_module()
class CorruptedFolders(ClassFolders):
    """Class folders of one kind of corruption at one severity.

    ``tools/make_corruptions.py`` writes such sets from a folder, in the layout
    of ImageNet-C. Classes are numbered in the order of their names. Folders
    without images count too, as in MMPretrain's ``CustomDataset``.

    Args:
        data_root (str): The folder that contains a folder for each kind.
        kind (str): One of ``ALL_C_KINDS``.
        severity (int): 1 to 5.
        **kwargs: Arguments of :class:`ClassFolders`.

    Raises:
        FileNotFoundError: The set does not exist, or lacks this kind.
        ValueError: An argument is out of range, the number of class folders
            is wrong, or there is no image at all.
    """

    NAME = 'a set of corrupted images'
    empty_classes = True
    LAYOUT = 'DATA_ROOT/KIND/SEVERITY/CLASS/*.JPEG'
    KINDS = ALL_C_KINDS
    SETTINGS: str | None = None  # strengths of a published set

    def __init__(self, data_root: str, kind: str, severity: int, **kwargs):
        self.kind = check_corruption_kind(kind, self.KINDS, self.NAME)
        self.severity = check_severity(severity)
        super().__init__(data_root, **kwargs)

    @property
    def folder(self) -> Path:
        return super().folder / self.kind / str(self.severity)
