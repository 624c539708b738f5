"""Draws reference images from a data set, and stacks them as bytes."""

import copy
from collections.abc import Callable, Sequence

import numpy as np
import torch
from mmengine.dataset import Compose
from mmengine.utils import track_iter_progress
from PIL import Image
from torch.utils.data import Subset

SELECT = ('random', 'per_class', 'mean')


class AnnotatedSubset(Subset):
    """A subset that also gives annotations, without loading images."""

    def get_data_info(self, index: int) -> dict:
        """Get the annotation of an image, as from MMEngine's data sets."""
        return self.dataset.get_data_info(self.indices[index])


class PlainDataset:
    """A plain PyTorch data set with a pipeline of MMPretrain's transforms.

    Args:
        dataset (torch.utils.data.Dataset): A data set such as torchvision's,
            whose items are PIL images, or tuples of a PIL image and a label.
            Items that ``PackInputs`` made are not changed.
        pipeline (Sequence): Transforms or their configs. Transforms that load
            images are skipped.
        channel_order (str): Channel order of the pipeline's input, ``'rgb'``
            or ``'bgr'``. Defaults to ``'bgr'``, as MMPretrain loads images.

    Raises:
        TypeError: When an item is read, it is of another type.
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
                f'{type(image).__name__}, whose channels and range are '
                f'unknown. Remove the transforms of {describe(self)}, or '
                'name a folder, or a data set with a `pipeline`.'
            )
        pixels = np.asarray(image.convert('RGB'))
        if self.channel_order == 'bgr':
            pixels = pixels[..., ::-1]
        size = pixels.shape[:2]
        return self.pipeline(
            dict(img=pixels.copy(), img_shape=size, ori_shape=size)
        )

    def get_data_info(self, index: int) -> dict:
        """Get the label of an image, if it has one."""
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
    """Whether a data set, or each one that it wraps, has a pipeline."""
    if hasattr(dataset, 'datasets'):
        return all(map(has_pipeline, dataset.datasets))
    if hasattr(dataset, 'dataset'):
        return has_pipeline(dataset.dataset)
    return hasattr(dataset, 'pipeline')


def with_pipeline(dataset, pipeline: Sequence[dict | Callable]):
    """Make a view of a data set that uses another pipeline.

    It also replaces the pipelines of data sets inside wrappers such as
    ``RepeatDataset`` and ``ConcatDataset``. Annotations are shared, not read
    again.

    Args:
        dataset (torch.utils.data.Dataset): A data set of MMEngine, or a
            wrapper.
        pipeline (Sequence): Transforms or their configs.

    Returns:
        torch.utils.data.Dataset: A shallow copy. The original is not changed.

    Raises:
        TypeError: Neither the data set nor one that it wraps has a pipeline.
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
            'Expected a data set with a `pipeline` to draw references from, '
            f'but got {type(dataset).__name__}. Name another with `source`.'
        )
    return view


def get_labels(dataset) -> np.ndarray:
    """Get the label of every image of a data set.

    Shape:
        - output: (N,), int64; -1 for images without a single label

    Raises:
        TypeError: The data set has no ``get_data_info``.
    """
    if not hasattr(dataset, 'get_data_info'):
        raise TypeError(
            "Expected a data set with `get_data_info`, as MMEngine's have, "
            f'but got {type(dataset).__name__}. Add `KReferenceHook` to '
            '`custom_hooks`, which reads others too, or name another.'
        )

    def label(index):
        try:
            return int(dataset.get_data_info(index).get('gt_label', -1))
        except TypeError:  # the image has several labels
            return -1

    return np.fromiter(
        (label(i) for i in range(len(dataset))), np.int64, len(dataset)
    )


def round_robin(labels: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Reorder the indices of images so that classes take turns.

    Images of the same class stay in their ``order``.

    Shape:
        - labels, order, output: (N,), integers

    Example:
        >>> round_robin(np.array([0, 0, 0, 1]), np.arange(4))
        array([0, 3, 1, 2])
    """
    turn = np.empty(len(order), np.int64)  # earlier images of its class
    for label in np.unique(labels):
        members = labels[order] == label
        turn[members] = np.arange(members.sum())
    return order[np.argsort(turn, kind='stable')]


def select_indices(dataset, size: int, select: str, seed: int) -> np.ndarray:
    """Choose images at random, without replacement.

    The first k of them are those chosen for ``size=k``.

    Args:
        dataset (torch.utils.data.Dataset): A data set of MMEngine.
        size (int): Number of images.
        select (str): ``'random'``, or ``'per_class'`` so that classes take
            turns.
        seed (int): Seed of the choice.

    Shape:
        - output: (size,), int64

    Raises:
        ValueError: The data set has no image, fewer than ``size``, or no
            labels although ``select`` is ``'per_class'``.
    """
    if len(dataset) == 0:
        raise ValueError(
            'Expected a data set with images to draw references '
            f'from, but {describe(dataset)} is empty. Name another with '
            '`source`.'
        )
    if size > len(dataset):
        raise ValueError(
            f'Expected at most {len(dataset)} references, the number of '
            f'images of {describe(dataset)}, but got {size}. Lower '
            '`num_references`.'
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
    """Stack some images of a data set, as its pipeline packs them.

    Args:
        dataset (torch.utils.data.Dataset): A data set whose pipeline ends in
            ``PackInputs``.
        indices (Sequence[int]): Indices of the images.

    Shape:
        - output: (len(indices), C, H, W), usually uint8

    Raises:
        ValueError: The images differ in size, or one can't be read.
    """
    images: list[torch.Tensor] = []
    for index in indices:
        try:
            image = dataset[int(index)]['inputs']
        except Exception as error:  # transforms may raise anything
            # advice of the transform would be given twice
            reason = str(error).removesuffix(' Replace or remove it.')
            reason = reason.rstrip('.')
            raise ValueError(
                'Expected references that can be read, but image '
                f'{index} of {describe(dataset)}{_path(dataset, index)} could '
                f'not be read as a reference: {reason}. Replace or remove it.'
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
    """Name the file, since an index in a drawn set doesn't help a user."""
    try:
        path = dataset.get_data_info(int(index)).get('img_path')
    except Exception:  # must not hide the error that is being reported
        path = None
    return f' ({path})' if isinstance(path, str) else ''


def mean_image(dataset) -> torch.Tensor:
    """Compute the mean of all images of a data set, in the images' dtype.

    Shape:
        - output: (1, C, H, W)

    Raises:
        ValueError: The data set has no image, or its images differ in size.
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
        size (int): K. Ignored if ``select`` is ``'mean'``.
        select (str): See :func:`select_indices`; or ``'mean'`` for the mean
            image.
        seed (int): Seed of the draw.

    Shape:
        - output: (K, C, H, W), usually uint8; K is 1 for ``'mean'``
    """
    if select == 'mean':
        return mean_image(dataset)
    return stack_images(dataset, select_indices(dataset, size, select, seed))


def draw_pairs(dataset, size: int, seed: int) -> torch.Tensor:
    """Draw pairs of different images.

    Args:
        dataset (torch.utils.data.Dataset): See :func:`stack_images`.
        size (int): N, the number of pairs.
        seed (int): Seed of the draw. It differs from the draw of
            :func:`draw_images` with the same seed.

    Shape:
        - output: (N, 2, C, H, W), usually uint8

    Raises:
        ValueError: The data set has fewer than two images.
    """
    if len(dataset) < 2:
        raise ValueError(
            'Expected at least 2 images to draw residuals from, '
            f'but {describe(dataset)} has {len(dataset)}. Name another data '
            'set with `source`.'
        )
    generator = np.random.default_rng([seed, 1])
    first = generator.integers(len(dataset), size=size)
    steps = generator.integers(1, len(dataset), size=size)
    second = (first + steps) % len(dataset)
    return stack_images(
        dataset, np.stack([first, second], 1).ravel()
    ).unflatten(0, (size, 2))


def describe(dataset) -> str:
    """Describe a data set in a few words, for error messages."""
    if isinstance(dataset, PlainDataset):
        return describe(dataset.dataset)
    if isinstance(dataset, AnnotatedSubset):
        return f'the reference set of {describe(dataset.dataset)}'
    names = ('data_root', 'img_prefix', 'root')  # the last is torchvision's
    roots = (getattr(dataset, name, None) for name in names)
    root = next(filter(None, roots), None)
    return type(dataset).__name__ + (f' ({root})' if root else '')
