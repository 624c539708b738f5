"""Picking reference images out of a dataset and stacking them as bytes."""

import copy
from collections.abc import Callable, Sequence

import numpy as np
import torch
from mmengine.dataset import Compose
from mmengine.utils import track_iter_progress
from PIL import Image

SELECT = ('random', 'per_class', 'mean')


class Subset:
    """Some images of a dataset, in an order.

    Args:
        dataset (torch.utils.data.Dataset): MMEngine dataset or wrapper.
        indices (Sequence[int]): Which images.
    """

    def __init__(self, dataset, indices: Sequence[int]):
        self.dataset = dataset
        self.indices = indices

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> dict:
        return self.dataset[int(self.indices[index])]

    def get_data_info(self, index: int) -> dict:
        """The annotation of an image, as MMEngine's datasets give it."""
        return self.dataset.get_data_info(int(self.indices[index]))


class PlainDataset:
    """A PyTorch dataset, as torchvision's are, with a pipeline of the host's.

    Args:
        dataset (torch.utils.data.Dataset): Its items are PIL images, or
            tuples that begin with one and go on with a label; or they are
            what ``PackInputs`` returns, and stay as they are.
        pipeline (Sequence): Transforms or their configs; those that load are
            left out.
        channel_order (str): Of the images that the pipeline is given,
            ``'rgb'`` or ``'bgr'``. Defaults to ``'bgr'``, as the host loads.

    Raises:
        TypeError: While reading: an item is something else.
    """

    def __init__(
        self,
        dataset,
        pipeline: Sequence[dict | Callable],
        channel_order: str = 'bgr',
    ):
        self.dataset = dataset
        self.pipeline = Compose(
            [step for step in pipeline if not _loads(step)]
        )
        self.channel_order = channel_order
        self.metainfo = {}
        if hasattr(dataset, 'classes'):
            self.metainfo['classes'] = dataset.classes

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> dict:
        item = self.dataset[index]
        if isinstance(item, dict) and 'inputs' in item:
            return item
        image = item[0] if isinstance(item, (tuple, list)) else item
        if not isinstance(image, Image.Image):
            raise TypeError(
                'Expected PIL images to draw references from, but got '
                f'{type(image).__name__}, whose channels and range are not '
                f'known. Leave the transforms of {describe(self)} out, or '
                'name a folder, or a dataset with a `pipeline`'
            )
        pixels = np.asarray(image.convert('RGB'))
        if self.channel_order == 'bgr':
            pixels = pixels[..., ::-1]
        size = pixels.shape[:2]
        return self.pipeline(
            dict(img=pixels.copy(), img_shape=size, ori_shape=size)
        )

    def get_data_info(self, index: int) -> dict:
        """The label of an image, where it has one."""
        if hasattr(self.dataset, 'targets'):
            return dict(gt_label=self.dataset.targets[index])
        item = self.dataset[index]
        if isinstance(item, (tuple, list)) and len(item) > 1:
            return dict(gt_label=item[1])
        return {}


def _loads(step) -> bool:
    kind = step['type'] if isinstance(step, dict) else type(step)
    name = getattr(kind, '__name__', kind)
    return name.rpartition('.')[2].startswith('LoadImage')


def has_pipeline(dataset) -> bool:
    """Whether a dataset, or what it wraps, has a pipeline of the host's."""
    if hasattr(dataset, 'datasets'):
        return all(map(has_pipeline, dataset.datasets))
    if hasattr(dataset, 'dataset'):
        return has_pipeline(dataset.dataset)
    return hasattr(dataset, 'pipeline')


def with_pipeline(dataset, pipeline: Sequence[dict | Callable]):
    """A view of a dataset that sends its samples through another pipeline.

    Wrappers (``RepeatDataset``, ``ConcatDataset``, …) are looked through.
    Annotations are shared, not read again.

    Args:
        dataset (torch.utils.data.Dataset): MMEngine dataset or wrapper.
        pipeline (Sequence): Transforms or their configs.

    Returns:
        torch.utils.data.Dataset: A shallow copy; the original stays as it is.

    Raises:
        TypeError: Neither the dataset nor what it wraps has a pipeline.
    """
    view = copy.copy(dataset)
    if hasattr(view, 'datasets'):
        view.datasets = [with_pipeline(d, pipeline) for d in view.datasets]
    elif hasattr(view, 'dataset'):
        view.dataset = with_pipeline(view.dataset, pipeline)
    elif hasattr(view, 'pipeline'):
        view.pipeline = Compose(pipeline)
    else:
        raise TypeError(
            'Expected a dataset with a `pipeline` to draw references from, '
            f'but got {type(dataset).__name__}. Name another with `source`.'
        )
    return view


def get_labels(dataset) -> np.ndarray:
    """The label of every image of a dataset.

    Shape:
        - output: (N,), int64; -1 where an image has no single label

    Raises:
        TypeError: The dataset is not one of MMEngine's kind.
    """
    if not hasattr(dataset, 'get_data_info'):
        raise TypeError(
            'Expected a dataset with `get_data_info`, as MMEngine has them, '
            f'but got {type(dataset).__name__}. Add `KReferenceHook` to '
            '`custom_hooks`, which reads others too, or name another.'
        )

    def label(index):
        try:
            return int(dataset.get_data_info(index).get('gt_label', -1))
        except TypeError:  # several labels
            return -1

    return np.fromiter(
        (label(i) for i in range(len(dataset))), np.int64, len(dataset)
    )


def round_robin(labels: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Reorder images so that the classes take turns.

    Args:
        labels (np.ndarray): Of every image.
        order (np.ndarray): Images in the order to take them within a class.

    Shape:
        - labels, order, output: (N,), integers

    Example:
        >>> round_robin(np.array([0, 0, 0, 1]), np.arange(4))
        array([0, 3, 1, 2])
    """
    turn = np.empty(len(order), np.int64)  # how many of the class before
    for label in np.unique(labels):
        members = labels[order] == label
        turn[members] = np.arange(members.sum())
    return order[np.argsort(turn, kind='stable')]


def select_indices(dataset, size: int, select: str, seed: int) -> np.ndarray:
    """Choose images, the first k of which are those chosen for ``size=k``.

    Args:
        dataset (torch.utils.data.Dataset): MMEngine dataset.
        size (int): How many images.
        select (str): ``'random'``: without replacement; ``'per_class'``: the
            same, going round the classes.
        seed (int): Seed of the choice.

    Shape:
        - output: (size,), int64

    Raises:
        ValueError: The dataset has no image, fewer than ``size``, or no
            labels to go round.
    """
    if len(dataset) == 0:
        raise ValueError(
            'Expected a dataset with images to draw references '
            f'from, but {describe(dataset)} is empty.'
        )
    if size > len(dataset):
        raise ValueError(
            f'Expected at most {len(dataset)} references, as many as '
            f'{describe(dataset)} has images, but got {size}.'
        )
    order = np.random.default_rng(seed).permutation(len(dataset))
    if select == 'per_class':
        labels = get_labels(dataset)
        if labels.min() < 0:
            raise ValueError(
                'Expected one label an image to draw references per class, '
                f"but {describe(dataset)} has none. Use `select='random'`."
            )
        order = round_robin(labels, order)
    return order[:size]


def stack_images(dataset, indices: Sequence[int]) -> torch.Tensor:
    """The images at some indices, as the pipeline packs them.

    Args:
        dataset (torch.utils.data.Dataset): Its pipeline ends in
            ``PackInputs``.
        indices (Sequence[int]): Which images.

    Shape:
        - output: (len(indices), C, H, W), uint8 as a rule

    Raises:
        ValueError: The images differ in size, or one can't be read.
    """
    images: list[torch.Tensor] = []
    for index in indices:
        try:
            image = dataset[int(index)]['inputs']
        except Exception as error:  # whatever the transforms raise
            raise ValueError(
                f'Image {index} of {describe(dataset)}{_path(dataset, index)} '
                f'could not be read as a reference: {error}. Mend or remove '
                'it.'
            ) from error
        if images and image.shape != images[0].shape:
            raise ValueError(
                'Expected all references to have one size, but got '
                f'(C, H, W) = {tuple(images[0].shape)} and '
                f'{tuple(image.shape)}. Let the test pipeline end at one '
                'size, or give `source` a pipeline that does.'
            )
        images.append(image)
    return torch.stack(images)


def _path(dataset, index) -> str:
    """The image's file: its place in a drawn set tells a user nothing."""
    try:
        path = dataset.get_data_info(int(index)).get('img_path')
    except Exception:  # in an error's message, no error of its own
        path = None
    return f' ({path})' if isinstance(path, str) else ''


def mean_image(dataset) -> torch.Tensor:
    """The mean of all images of a dataset, rounded to the images' dtype.

    Shape:
        - output: (1, C, H, W)

    Raises:
        ValueError: The dataset has no image, or its images differ in size.
    """
    indices = select_indices(dataset, len(dataset), 'random', seed=0)
    first = stack_images(dataset, indices[:1])
    total = torch.zeros_like(first, dtype=torch.float64)
    blocks = np.array_split(indices, max(1, len(indices) // 256))
    for block in track_iter_progress(blocks) if len(blocks) > 8 else blocks:
        images = stack_images(dataset, [indices[0], *block])
        total += images[1:].sum(0, keepdim=True, dtype=torch.float64)
    mean = total / len(indices)
    if not first.is_floating_point():
        mean = mean.round()
    return mean.to(first.dtype)


def draw_images(dataset, size: int, select: str, seed: int) -> torch.Tensor:
    """Draw K reference images.

    Args:
        dataset (torch.utils.data.Dataset): See :func:`stack_images`.
        size (int): K; 1 where ``select`` is ``'mean'``.
        select (str): One of ``SELECT``.
        seed (int): Seed of the draw.

    Shape:
        - output: (K, C, H, W), uint8 as a rule
    """
    if select == 'mean':
        return mean_image(dataset)
    return stack_images(dataset, select_indices(dataset, size, select, seed))


def draw_pairs(dataset, size: int, seed: int) -> torch.Tensor:
    """Draw pairs of different images.

    Args:
        dataset (torch.utils.data.Dataset): See :func:`stack_images`.
        size (int): N, how many pairs.
        seed (int): Seed of the draw, which is another than that of
            :func:`draw_images` with the same seed.

    Shape:
        - output: (N, 2, C, H, W), uint8 as a rule

    Raises:
        ValueError: The dataset has fewer than two images.
    """
    if len(dataset) < 2:
        raise ValueError(
            'Expected at least 2 images to draw residuals from, '
            f'but {describe(dataset)} has {len(dataset)}.'
        )
    generator = np.random.default_rng([seed, 1])
    first = generator.integers(len(dataset), size=size)
    steps = generator.integers(1, len(dataset), size=size)
    second = (first + steps) % len(dataset)
    return stack_images(
        dataset, np.stack([first, second], 1).ravel()
    ).unflatten(0, (size, 2))


def describe(dataset) -> str:
    """A dataset in a few words, for messages."""
    if isinstance(dataset, PlainDataset):
        return describe(dataset.dataset)
    if isinstance(dataset, Subset):
        return f'the reference set of {describe(dataset.dataset)}'
    names = ('data_root', 'img_prefix', 'root')  # the last is torchvision's
    roots = (getattr(dataset, name, None) for name in names)
    root = next(filter(None, roots), None)
    return type(dataset).__name__ + (f' ({root})' if root else '')
