"""Reads the images of a test set in batches, ready for a model."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import torch
from mmengine.dataset import Compose
from mmpretrain.datasets.transforms import PackInputs
from mmpretrain.registry import DATASETS, TRANSFORMS

from ..utils.config import type_name
from .spec import Cell, Suite

CHUNK = 32  # images that a thread reads at a time
# for error messages: the data sets of the host do not name their layout
LAYOUTS = dict(
    CIFAR10='DATA_ROOT/cifar-10-batches-py/test_batch',
    CIFAR100='DATA_ROOT/cifar-100-python/test',
    CustomDataset='DATA_ROOT/CLASS/*.jpg',
    ImageNet='DATA_ROOT/val/WNID/*.JPEG',
)


class TestPipeline:
    """The test pipeline of a model, without reading and packing.

    Args:
        config (Sequence[dict]): ``LoadImageFromFile`` or nothing, transforms,
            ``PackInputs``.

    Raises:
        ValueError: The pipeline does not end with ``PackInputs``.
    """

    __test__ = False  # pytest would take the class for a test

    def __init__(self, config: Sequence[dict]):
        names = [type_name(step) for step in config]
        if not names or names[-1] != 'PackInputs':
            raise ValueError(
                'Expected a test pipeline that ends with PackInputs, but got '
                f'{", ".join(names) or "none"}. Change the config.'
            )
        self.reads_files = names[0].startswith('LoadImage')
        self.load = (
            config[0] if self.reads_files else dict(type='LoadImageFromFile')
        )
        self.steps = list(config[self.reads_files : -1])

    @property
    def steps_without_crop(self) -> list[dict]:
        """The steps for images that have been resized and cropped already.

        A resize and the crop after it become one resize of the whole image to
        the size that the crop would leave.
        """
        steps: list[dict] = []
        for step in self.steps:
            name = type_name(step)
            before = type_name(steps[-1]) if steps else ''
            if name == 'EfficientNetCenterCrop':
                steps.append(_resize(step, step['crop_size']))
            elif name == 'CenterCrop' and before in ('Resize', 'ResizeEdge'):
                steps.append(_resize(steps.pop(), step['crop_size']))
            elif (name, before) == (
                'torchvision/CenterCrop',
                'torchvision/Resize',
            ):
                size = step['size']
                size = (size, size) if isinstance(size, int) else size
                steps.append(dict(steps.pop(), size=size))
            else:
                steps.append(step)
        return steps

    @property
    def channel_order(self) -> str:
        """The channel order of its input: BGR from files, RGB from arrays."""
        return 'bgr' if self.reads_files else 'rgb'


def _resize(like: dict, size: int | Sequence[int]) -> dict:
    """Make a resize to (H, W) with the interpolation of another transform."""
    height, width = (size, size) if isinstance(size, int) else size
    # the defaults of the host's transforms
    default = (
        'bicubic'
        if type_name(like) == 'EfficientNetCenterCrop'
        else 'bilinear'
    )
    return dict(
        type='Resize',
        scale=(width, height),
        interpolation=like.get('interpolation', default),
        backend=like.get('backend', 'cv2'),
    )


class ImageBatches:
    """The images of a test set in batches, read ahead in threads.

    Arrays are sliced, and files decoded, straight into batches, without one of
    the host's data samples for each image. The channel order is the one that
    the model's own test pipeline gives.

    Args:
        workers (int): Threads that read and transform images, unless whole
            arrays need neither. Defaults to 2.
        pin_memory (bool): Whether to return batches in pinned memory, from
            which copies to a GPU are asynchronous. Defaults to False.

    Attributes:
        labels (torch.Tensor): (N,), int64.
        num_classes (int, optional): The number of classes; None if the data
            set does not declare them.
        kept_classes (tuple, optional): The only classes that may be
            predicted; see :class:`~mmanchor.evaluation.PredictedBatch`.

    Shape:
        - each batch: (B, C, H, W), usually uint8

    Raises:
        FileNotFoundError: The set is not on disk.
        ValueError: The set is damaged or empty, an image can't be read, or
            images have different sizes.
    """

    def __init__(
        self,
        cell: Cell,
        pipeline: TestPipeline,
        batch_size: int = 256,
        workers: int = 2,
        pin_memory: bool = False,
    ):
        self.pin_memory = pin_memory
        self.dataset = _build(cell)
        self.before = _compose(cell.steps)
        self.transform = _compose(pipeline.steps)
        self.transform_square = (
            _compose(pipeline.steps_without_crop)
            if cell.is_cropped
            else self.transform
        )
        self.load = TRANSFORMS.build(pipeline.load)
        self.channel_order = pipeline.channel_order
        self.batch_size, self.workers = batch_size, workers
        self.arrays = None
        if not cell.steps and not pipeline.steps:
            if hasattr(self.dataset, 'whole_arrays'):
                self.arrays = self.dataset.whole_arrays()  # or None
        labels = (
            self.dataset.get_gt_labels()
            if self.arrays is None
            else self.dataset.labels
        )
        self.rows = np.arange(len(self.dataset))
        self.labels = torch.from_numpy(np.asarray(labels, np.int64))
        if cell.is_ood:
            self.labels = torch.full_like(self.labels, -1)
        self.kept_classes = self.dataset.metainfo.get('kept_classes')
        classes = self.dataset.metainfo.get('classes')
        self.num_classes = None if classes is None else len(classes)

    def __len__(self) -> int:
        return len(self.rows)

    def select(self, rows: np.ndarray) -> None:
        """Keep only the images at these positions: (N,), ascending."""
        self.rows, self.labels = self.rows[rows], self.labels[rows]

    def __iter__(self) -> Iterator[torch.Tensor]:
        starts = range(0, len(self), self.batch_size)
        with (
            ThreadPoolExecutor(1) as ahead,
            ThreadPoolExecutor(max(self.workers, 1)) as readers,
        ):
            waiting = None
            for start in starts:
                rows = self.rows[start : start + self.batch_size]
                coming = ahead.submit(self._read, rows, readers)
                if waiting is not None:
                    yield waiting.result()
                waiting = coming
            if waiting is not None:
                yield waiting.result()

    def _read(self, rows, readers) -> torch.Tensor:
        images = self._read_pageable(rows, readers)
        return images.pin_memory() if self.pin_memory else images

    def _read_pageable(self, rows, readers) -> torch.Tensor:
        if self.arrays is not None:
            images = self.arrays[rows[0] : rows[-1] + 1]
            if len(images) != len(rows):  # some rows are left out
                images = images[rows - rows[0]]
            images = self._reordered(images, 'rgb')
            return torch.from_numpy(
                np.ascontiguousarray(images.transpose(0, 3, 1, 2))
            )
        chunks = [rows[i : i + CHUNK] for i in range(0, len(rows), CHUNK)]
        images: list[torch.Tensor] = [
            image
            for chunk in readers.map(self._read_chunk, chunks)
            for image in chunk
        ]
        sizes = {tuple(image.shape) for image in images}
        if len(sizes) > 1:
            one, other = sorted(sizes)[:2]
            raise ValueError(
                'Expected images of one size (C, H, W) after the test '
                f'pipeline, but got {one} and {other}. Let the pipeline '
                'resize, or set `steps` of the set in the suite: '
                "dict(type='ResizeEdge', scale=32), "
                "dict(type='CenterCrop', crop_size=32)."
            )
        return torch.stack(images)

    def _read_chunk(self, rows) -> list[torch.Tensor]:
        return [self.read(int(row)) for row in rows]

    def read(self, row: int) -> torch.Tensor:
        """Read the image at a position in the data set."""
        info = self.dataset.get_data_info(row)
        # the seed of random transforms, as in the host's loop
        info.setdefault('sample_idx', row)
        order = getattr(self.dataset, 'channel_order', 'rgb')
        if 'img' not in info:
            info, order = self._load(info), 'bgr'
        info['img'] = self._reordered(info['img'], order)
        info = self.before(info)
        height, width = info['img'].shape[:2]
        # sets of cropped images have some that were not: they are no squares
        transform = (
            self.transform_square if height == width else self.transform
        )
        return PackInputs.format_input(transform(info)['img'])

    def _load(self, info: dict) -> dict:
        path, error = info['img_path'], 'no image'
        try:
            loaded = self.load(info)
        except (AssertionError, OSError, cv2.error) as problem:
            loaded, error = None, ' '.join(str(problem).split())
        if loaded is None:  # what `ignore_empty` returns for a bad file
            raise ValueError(
                f'Expected {path} to be an image, but got a file '
                f"that can't be read: {error}. Replace or remove "
                'it.'
            )
        return loaded

    def _reordered(self, images: np.ndarray, order: str) -> np.ndarray:
        if order == self.channel_order or images.shape[-1] != 3:
            return images
        return np.ascontiguousarray(images[..., ::-1])


def check_clean_set(suite: Suite) -> None:
    """Raise if the clean set of a suite is missing.

    Without it, the results on the other sets compare with nothing.

    Raises:
        FileNotFoundError: The set is not on disk. The message names the
            folder.
    """
    cell = next(suite.clean.cells())
    try:
        _build(cell)
    except FileNotFoundError as error:
        folder = Path(cell.dataset.get('data_root', '.')).absolute()
        # the advice of the other message is about configs
        reason = str(error).partition(' Put it there')[0].rstrip('.')
        raise FileNotFoundError(
            f'Expected the clean test set of {suite.title} in {folder}, but '
            f'got: {reason}. Put it there, or name the folder of all test '
            'sets with --data-root.'
        ) from error
    except ValueError:
        return  # the report names a damaged set, as it does all others


def clean_set_is_there(suite: Suite) -> bool:
    """Whether the clean set of a suite is on disk."""
    try:
        check_clean_set(suite)
    except FileNotFoundError:
        return False
    return True


def is_on_disk(cell: Cell) -> bool:
    """Whether the array or the folder of a kind of corruption exists."""
    root = Path(cell.dataset.get('data_root', '.')).expanduser()
    return (root / f'{cell.kind}.npy').is_file() or (root / cell.kind).is_dir()


def fingerprint(cell: Cell) -> list[list]:
    """Names, sizes and times of the files of a test set.

    It changes when the set changes. To be quick, it lists the entries of the
    set's folder, but not the files in class folders below it. The list is
    empty if the set is not on disk.
    """
    root = cell.dataset.get('data_root')
    if root is None:
        return []
    root = Path(root).expanduser()
    if cell.kind is None:
        paths = [root]
    else:
        names = (
            'labels.npy',
            f'{cell.kind}.npy',
            f'{cell.kind}/{cell.severity}',
        )
        paths = [root / name for name in names]
    inside = [
        sorted(path.iterdir())
        for path in paths
        if path.is_dir() and os.access(path, os.R_OK | os.X_OK)
    ]
    entries = []
    for path in [*paths, *sum(inside, [])]:
        if path.exists():
            stat, name = path.stat(), str(path.relative_to(root))
            size = stat.st_size if path.is_file() else None
            entries.append([name, size, stat.st_mtime_ns])
    return entries


def _compose(steps: Sequence[dict]) -> Compose:
    return Compose([TRANSFORMS.build(step) for step in steps])


def _build(cell: Cell):
    layout = LAYOUTS.get(type_name(cell.dataset))
    try:
        return DATASETS.build(dict(cell.dataset, pipeline=[]))
    # all of these mean that files are missing, in the host's data sets
    except (RuntimeError, AssertionError, FileNotFoundError) as error:
        if isinstance(error, FileNotFoundError) and layout is None:
            raise  # our own data sets name their layout in the message
        raise FileNotFoundError(
            f'Expected {cell.name} as {type_name(cell.dataset)} reads it'
            f'{layout and ", with the layout " + layout or ""}, but got: '
            f'{str(error).rstrip(".")}. Put it there, or change '
            '`data_root`.'
        ) from error
    except ValueError as error:
        if 'need at least one array' not in str(error):
            raise
        raise ValueError(
            f'Expected images in {cell.name}, but got none. '
            'Change the data set.'
        ) from error
