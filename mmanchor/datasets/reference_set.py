"""The set of images from which references are drawn in training."""

from collections.abc import Sequence

import numpy as np
import torch
from mmpretrain.registry import DATASETS

from ..functional import check_seed
from .reference_sampling import (
    AnnotatedSubset,
    describe,
    get_labels,
    round_robin,
    stack_images,
)

_SELECT = ('random', 'per_class')


@DATASETS.register_module()
class ReferenceSet:
    """A fixed subset of the training set, held in memory as bytes.

    The images are read when they are first needed, so that testing needs no
    training data.

    Args:
        dataset (dict, optional): Config of the data set to draw from. Its
            pipeline must give all images one size, as test pipelines do.
            Defaults to None: the training set with the test pipeline, which
            :class:`mmanchor.engine.KReferenceHook` provides.
        size (int, optional): Number of images, drawn at random without
            replacement. Defaults to None: all.
        classes (Sequence[str | int], optional): The classes to draw from, by
            name or index. Defaults to None: all.
        seed (int): Seed of the draw. Defaults to 0.
        select (str): ``'random'``; ``'per_class'``: the same, going round the
            classes, so that each has as many images as the others or one
            less. Defaults to ``'random'``.
        num_classes (int, optional): Draw from this many classes, which are
            themselves drawn at random. Defaults to None: all.

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: An argument is out of range.

    Source: arXiv 2406.00529, which studies the size of the reference set.
    """

    def __init__(
        self,
        dataset: dict | None = None,
        size: int | None = None,
        classes: Sequence[str | int] | None = None,
        seed: int = 0,
        select: str = 'random',
        num_classes: int | None = None,
    ):
        for name, count in (('size', size), ('num_classes', num_classes)):
            if count is not None and (
                not isinstance(count, int)
                or isinstance(count, bool)
                or count < 1
            ):
                raise ValueError(
                    f'Expected `{name}` of the reference set to be a '
                    f'positive integer or None, but got {count!r}. '
                    f'Change `{name}`.'
                )
        if select not in _SELECT:
            raise ValueError(
                "Expected `select` of the reference set to be 'random' or "
                f"'per_class', but got {select!r}. Change `select`."
            )
        if classes is not None and num_classes is not None:
            raise ValueError(
                'Expected one of `classes` and `num_classes`, but got '
                f'{classes!r} and {num_classes!r}. Drop one.'
            )
        if isinstance(classes, (str, int)):
            raise TypeError(
                'Expected `classes` of the reference set to be a list of '
                f'names or indices, but got {classes!r}. Put it into a list.'
            )
        self.dataset = dataset
        self.size = size
        self.classes = classes
        self.seed = check_seed(seed)
        self.select = select
        self.num_classes = num_classes
        self._indices = self._images = None

    @property
    def images(self) -> torch.Tensor:
        """The images, (N, C, H, W), as the pipeline packs them."""
        if self._images is None:
            if self.dataset is None:
                raise ValueError(
                    'Expected a reference set with images, but it has '
                    'no images yet. Add `KReferenceHook` to `custom_hooks`, '
                    'which draws them from the training set, or give '
                    '`ReferenceSet` a `dataset`.'
                )
            self.load(DATASETS.build(self.dataset))
        return self._images

    @images.setter
    def images(self, images: torch.Tensor) -> None:
        self._images = images

    def __len__(self) -> int:
        return len(self.images)

    def __deepcopy__(self, memo):
        return self  # the copies that averaging makes share the images

    def load(self, dataset) -> None:
        """Read the images.

        Args:
            dataset (torch.utils.data.Dataset): The data set to draw from,
                with the test pipeline.

        Raises:
            ValueError: The data set has too few images of these classes, or a
                label that is none of its classes.
        """
        self._indices = None
        subset = self.subset(dataset)
        self._images = stack_images(subset, range(len(subset)))

    def subset(self, dataset) -> AnnotatedSubset:
        """Choose the images of :meth:`load` without reading them.

        Args:
            dataset (torch.utils.data.Dataset): The data set to draw from.

        Raises:
            ValueError: See :meth:`load`.
        """
        if self._indices is None:
            self._indices = self._choose(dataset)
        return AnnotatedSubset(dataset, self._indices.tolist())

    def _choose(self, dataset) -> np.ndarray:
        candidates = self._candidates(dataset)
        size = self.size or len(candidates)
        if not 1 <= size <= len(candidates):
            raise ValueError(
                f'Expected {size or "some"} images for the reference set, '
                f'but {describe(dataset)} has {len(candidates)}'
                f'{" of these classes" if self._has_classes else ""}. '
                'Lower `size`, or name more `classes` or another `dataset`.'
            )
        order = np.random.default_rng(self.seed).permutation(candidates)
        if self.select == 'per_class':
            order = round_robin(get_labels(dataset), order)
        return order[:size]

    @property
    def _has_classes(self) -> bool:
        return bool(self.classes or self.num_classes)

    def _candidates(self, dataset) -> np.ndarray:
        names = list(
            (getattr(dataset, 'metainfo', None) or {}).get('classes') or []
        )
        labels = get_labels(dataset)
        if names and len(labels) and labels.max() >= len(names):
            raise ValueError(
                f'Expected the labels of {describe(dataset)} to be below its '
                f'number of classes, {len(names)}, but got {labels.max()}. '
                'Correct the annotation file or `metainfo`.'
            )
        if self._has_classes or self.select == 'per_class':
            self._check_labels(dataset, labels)
        if self.num_classes is not None:
            return np.flatnonzero(np.isin(labels, self._drawn(labels)))
        if self.classes is None:
            return np.arange(len(labels))
        wanted = [names.index(c) if c in names else c for c in self.classes]
        known = range(len(names)) if names else np.unique(labels)
        unknown = [c for c in wanted if c not in known]
        if unknown:
            raise ValueError(
                f'Expected `classes` to be among those of '
                f'{describe(dataset)}, {names or list(known)}, but got '
                f'{unknown}. Change `classes`.'
            )
        return np.flatnonzero(np.isin(labels, wanted))

    def _check_labels(self, dataset, labels) -> None:
        if len(labels) and labels.min() < 0:
            raise ValueError(
                'Expected one label an image to draw references by class, '
                f'but {describe(dataset)} has none. Leave out `classes`, '
                '`num_classes` and `select`.'
            )

    def _drawn(self, labels) -> np.ndarray:
        known = np.unique(labels)
        if self.num_classes > len(known):
            raise ValueError(
                f'Expected `num_classes` of at most {len(known)}, as many as '
                f'there are, but got {self.num_classes}. Lower it.'
            )
        # a generator of its own: images are drawn as they always were
        generator = np.random.default_rng([self.seed, 1])
        return generator.choice(known, self.num_classes, replace=False)
