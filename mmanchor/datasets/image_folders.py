"""Images in folders, found and checked."""

import os
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import mmcv
from mmpretrain.datasets import BaseDataset
from mmpretrain.registry import DATASETS
from PIL import Image, ImageOps

from .shifts.kinds import ALL_C_KINDS, check_kind, check_severity, missing

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
    """The images in a folder at any depth, as MMPretrain's datasets walk it.

    Linked files and folders are followed. Hidden files and folders, such as
    ``.ipynb_checkpoints``, are not read. The order is that of
    ``CustomDataset``: by path, as text.

    Args:
        folder (str | Path): Where the images are.

    Returns:
        list[Path]: Paths with one of ``EXTENSIONS``.

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
    if real in parents:  # a link to a folder that holds it would never end
        return
    for path in folder.iterdir():
        if path.name.startswith('.'):
            continue
        if path.is_dir():
            yield from _walk(path, (*parents, real))
        elif path.suffix.lower() in EXTENSIONS and path.is_file():
            yield path


def list_folders(folder: str | Path) -> list[str]:
    """The names of a folder's folders, sorted, without hidden ones."""
    return sorted(
        path.name
        for path in Path(folder).iterdir()
        if path.is_dir() and not path.name.startswith('.')
    )


def open_rgb(path: str | Path) -> Image.Image:
    """Open an image in RGB, turned as its EXIF data say.

    Pillow would clip grey values of 16 bits to 255, which makes such images
    white, so MMPretrain's loader reads them: it scales.

    Args:
        path (str | Path): The file.

    Raises:
        ValueError: The file can't be read, is too large for Pillow's limit,
            or holds pixels of another type than 8 or 16 bits.
    """
    try:
        with Image.open(path) as file:
            if file.mode == 'F' or file.mode.startswith('I'):
                return _scaled_to_bytes(path, file.mode)
            return ImageOps.exif_transpose(file).convert('RGB')
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(
            f'Expected {path} to be an image, but got a file '
            f"that can't be read: {error}. Mend or remove "
            'it.'
        ) from error


def _scaled_to_bytes(path: str | Path, mode: str) -> Image.Image:
    try:
        return Image.fromarray(mmcv.imread(str(path), channel_order='rgb'))
    except cv2.error as error:
        raise ValueError(
            f'Expected {path} to have pixels of 8 or 16 bits, but got mode '
            f"{mode} (32 bits), which MMPretrain's loader can't read either. "
            'Convert it to 8 bits.'
        ) from error


def listed(names: Sequence[str], most: int = 5) -> str:
    """Names in a few words, for messages."""
    names = sorted(names)
    more = f' and {len(names) - most} more' if len(names) > most else ''
    return ', '.join(names[:most]) + more


class ClassFolders(BaseDataset):
    """Images in one folder a class.

    Args:
        data_root (str): The folder with the class folders.
        **kwargs: Arguments of the host's ``BaseDataset``, as ``pipeline``,
            which starts with ``LoadImageFromFile``.

    Raises:
        FileNotFoundError: The set is not there.
        ValueError: Its folders are not as published.
    """

    NAME = 'images in class folders'
    LAYOUT = 'DATA_ROOT/CLASS/*.JPEG'
    empty_classes = False  # whether a class folder may have no image

    def __init__(self, data_root: str, **kwargs):
        kwargs = dict(dict(test_mode=True), **kwargs)
        super().__init__(ann_file='', data_root=str(data_root), **kwargs)

    @property
    def folder(self) -> Path:
        """The folder with the class folders."""
        return Path(self.data_root).expanduser()

    def labels_of(self, names: list[str]) -> dict[str, int]:
        """The label of each class folder that is there."""
        if self.CLASSES is None:
            self._metainfo['classes'] = tuple(names)
        if len(names) != len(self.CLASSES):
            raise ValueError(
                f'Expected {len(self.CLASSES)} class folders, as many as '
                f'there are classes, but got {len(names)} in {self.folder}. '
                'Add or remove folders, or change `classes`.'
            )
        return {name: label for label, name in enumerate(names)}

    def load_data_list(self) -> list[dict]:
        """The path and the label of each image."""
        if not self.folder.is_dir():
            raise missing(self.NAME, self.LAYOUT, self.folder)
        names = list_folders(self.folder)
        if not names:
            raise ValueError(
                f'Expected {self.folder} to hold {self.NAME} as '
                f'{self.LAYOUT}, but got no class folder. '
                'Change `data_root`.'
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
                f'{listed(empty)}. Extract the set again.'
            )
        if empty:
            warnings.warn(
                f'{self.folder} has no images of {listed(empty)}: '
                'these folders count as classes, as in '
                "MMPretrain's CustomDataset."
            )
        return samples


@DATASETS.register_module()
class CorruptedFolders(ClassFolders):
    """One kind of corruption at one severity, of images in class folders.

    As ``tools/make_corruptions.py`` writes them from a folder, in the layout
    of ImageNet-C. Classes are numbered in the order of their names; folders
    without an image count too, as in the host's ``CustomDataset``.

    Args:
        data_root (str): The folder with the folders of kinds.
        kind (str): One of ``ALL_C_KINDS``.
        severity (int): 1 to 5.
        **kwargs: Arguments of :class:`ClassFolders`.

    Raises:
        FileNotFoundError: The set, or this kind, is not there.
        ValueError: An argument is out of range, a class folder is missing or
            one too many, or there is no image at all.
    """

    NAME = 'a set of corrupted images'
    empty_classes = True
    LAYOUT = 'DATA_ROOT/KIND/SEVERITY/CLASS/*.JPEG'
    KINDS = ALL_C_KINDS
    SETTINGS: str | None = None  # as the set was published

    def __init__(self, data_root: str, kind: str, severity: int, **kwargs):
        self.kind = check_kind(kind, self.KINDS, self.NAME)
        self.severity = check_severity(severity)
        super().__init__(data_root, **kwargs)

    @property
    def folder(self) -> Path:
        return super().folder / self.kind / str(self.severity)


@DATASETS.register_module()
class OODFolder(BaseDataset):
    """Images that belong to none of the classes, at any depth of a folder.

    Every sample has the label −1. For NINCO (its ``NINCO_OOD_classes``),
    iSUN, Textures (DTD's ``images``), Places365, or any other folder.

    Args:
        data_root (str): The folder.
        name (str, optional): The set's name, for messages. Defaults to that
            of the folder.
        **kwargs: Arguments of the host's ``BaseDataset``, as ``pipeline``,
            which starts with ``LoadImageFromFile``.

    Raises:
        FileNotFoundError: There is no such folder.
        ValueError: It holds no image.
    """

    def __init__(self, data_root: str, name: str | None = None, **kwargs):
        self.name = name or Path(data_root).name
        kwargs = dict(dict(test_mode=True), **kwargs)
        super().__init__(ann_file='', data_root=str(data_root), **kwargs)

    def load_data_list(self) -> list[dict]:
        """The path of each image, and −1."""
        folder = Path(self.data_root).expanduser()
        if not folder.is_dir():
            raise missing(self.name, 'DATA_ROOT/**/*.jpg', folder)
        images = list_images(folder)
        if not images:
            raise ValueError(
                f'Expected {folder} to hold images of {self.name}, but got '
                f'none with one of {", ".join(EXTENSIONS)}. Change '
                '`data_root`.'
            )
        return [dict(img_path=str(path), gt_label=-1) for path in images]


@DATASETS.register_module()
class OpenOOD(BaseDataset):
    """One set out of distribution of OpenOOD v1.5, as its lists have it.

    The lists leave out images that also show one of the benchmark's classes.
    Every sample has the label -1.

    Args:
        data_root (str): The folder with ``benchmark_imglist``, and
            ``images_classic`` or ``images_largescale``.
        benchmark (str): The images in distribution, as the folder of lists
            is called: ``'cifar10'``, ``'cifar100'``, ``'imagenet'``, ...
        subset (str): The set, as its list is called: ``'tin'``, ``'mnist'``,
            ``'ssb_hard'``, ...
        **kwargs: Arguments of the host's ``BaseDataset``, as ``pipeline``,
            which starts with ``LoadImageFromFile``.

    Raises:
        FileNotFoundError: The list, or the folder of images, is not there.
        ValueError: The list is empty, or images that it names are not there.

    Source: Zhang et al., OpenOOD v1.5: Enhanced Benchmark for
    Out-of-Distribution Detection, 2023 (arXiv 2306.09301).
    """

    LAYOUT = (
        'DATA_ROOT/benchmark_imglist/BENCHMARK/test_SUBSET.txt, '
        'DATA_ROOT/images_classic/**/*.png, '
        'DATA_ROOT/images_largescale/**/*.jpg'
    )
    IMAGES = ('images_classic', 'images_largescale')

    def __init__(self, data_root: str, benchmark: str, subset: str, **kwargs):
        self.benchmark, self.subset = benchmark, subset
        kwargs = dict(dict(test_mode=True), **kwargs)
        super().__init__(ann_file='', data_root=str(data_root), **kwargs)

    def load_data_list(self) -> list[dict]:
        """The path of each image, and -1."""
        root = Path(self.data_root).expanduser()
        name = f"OpenOOD's {self.subset}"
        path = (
            root
            / 'benchmark_imglist'
            / self.benchmark
            / f'test_{self.subset}.txt'
        )
        if not path.is_file():
            raise missing(name, self.LAYOUT, path)
        # a line is a path, which may have spaces, and a label
        lines = path.read_text(encoding='utf-8').splitlines()
        images = [line.rsplit(maxsplit=1)[0] for line in lines if line.strip()]
        if not images:
            raise ValueError(
                f'Expected {path} to name images, but got none. Extract the '
                'lists again.'
            )
        top = Path(images[0]).parts[0]
        folders = [
            root / one for one in self.IMAGES if (root / one / top).is_dir()
        ]
        if not folders:
            raise missing(name, self.LAYOUT, root / self.IMAGES[0] / top)
        folder = folders[0]
        lacking = [one for one in images if not (folder / one).is_file()]
        if lacking:
            raise ValueError(
                f'Expected all {len(images)} images that {path} names in '
                f'{folder}, but got {len(lacking)} fewer: {listed(lacking)}. '
                'Extract the set again.'
            )
        return [
            dict(img_path=str(folder / one), gt_label=-1) for one in images
        ]
