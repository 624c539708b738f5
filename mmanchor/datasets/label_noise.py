"""Label noise: a known share of the labels is wrong."""

from numbers import Real

import numpy as np
from mmengine.dataset import BaseDataset
from mmengine.logging import print_log
from mmpretrain.registry import DATASETS

from ..functional import check_seed
from .reference_sampling import describe, get_labels, with_pipeline


def flip_labels(
    labels: np.ndarray, num_classes: int, rate: float, seed: int = 0
) -> np.ndarray:
    """Change a share of labels to another class, each with equal probability.

    The result depends only on the arguments. Labels that flip at a lower rate
    flip to the same class at a higher rate.

    Args:
        labels (np.ndarray): The true labels.
        num_classes (int): Number of classes, at least 2.
        rate (float): Share of labels to flip, in [0, 1]. Exactly
            ``round(rate * N)`` labels flip.
        seed (int): Seed of the draw. Defaults to 0.

    Shape:
        - labels: (N,), integers in [0, num_classes)
        - output: (N,), int64

    Raises:
        TypeError: ``rate`` or ``seed`` is not a number.
        ValueError: An argument is out of range.

    Example:
        >>> int(flip_labels(np.array([0, 0, 0, 0]), 2, rate=0.5).sum())
        2
    """
    if isinstance(rate, bool) or not isinstance(rate, Real):
        raise TypeError(
            f'Expected `rate` to be a number, but got {rate!r}. Change `rate`.'
        )
    if not 0 <= rate <= 1:
        raise ValueError(
            'Expected `rate`, the share of labels to flip, to be '
            f'in [0, 1], but got {rate}. For example, give 0.05 for 5 %.'
        )
    if num_classes < 2:
        raise ValueError(
            'Expected at least 2 classes, so that labels can flip, but got '
            f'{num_classes}. Change the data set.'
        )
    labels = np.array(labels, np.int64)
    if len(labels) and not 0 <= labels.min() <= labels.max() < num_classes:
        raise ValueError(
            f'Expected labels in [0, {num_classes}), but got '
            f'{labels.min()} to {labels.max()}. Each image needs one label: '
            'change the data set or its `metainfo`.'
        )
    generator = np.random.default_rng(check_seed(seed))
    order = generator.permutation(len(labels))
    steps = generator.integers(1, num_classes, size=len(labels))
    flipped = order[: round(rate * len(labels))]
    labels[flipped] = (labels[flipped] + steps[flipped]) % num_classes
    return labels


class _Relabel:
    """Replaces the label of an image; the first step of the pipeline."""

    def __init__(self, labels):
        self.labels = labels

    def __call__(self, results):
        results['gt_label'] = int(self.labels[results['sample_idx']])
        return results

    def __repr__(self):
        return f'{type(self).__name__}()'


@DATASETS.register_module()
class SymmetricLabelNoise:
    """A data set in which a share of the labels is wrong.

    The log gives the number of flipped labels; :attr:`flips` lists them.

    Args:
        dataset (dict | BaseDataset): The data set to relabel, with one label
            for each image. Its pipeline receives the noisy labels.
        rate (float): See :func:`flip_labels`.
        seed (int): Seed of the noise. It is independent of the run's seed, so
            that runs with different seeds can share the noise. Defaults to 0.

    Raises:
        TypeError: ``dataset`` is not a data set of MMEngine, or wraps others.
        ValueError: See :func:`flip_labels`.

    Source: arXiv 2406.00529, which corrupts labels of CIFAR-100 at rates of
    0.5 to 20 %. It does not say whether a label may flip to itself; here, it
    may not.

    Example:
        >>> noisy = SymmetricLabelNoise(dict(type='Digits'), rate=0.05)
        >>> len(noisy), len(noisy.flips)
        (1297, 65)
    """

    def __init__(
        self, dataset: dict | BaseDataset, rate: float, seed: int = 0
    ):
        if isinstance(dataset, dict):
            dataset = DATASETS.build(dataset)
        if not isinstance(dataset, BaseDataset):
            raise TypeError(
                'Expected `dataset` to be a data set of MMEngine or its '
                f'config, but got {type(dataset).__name__}. Put '
                'SymmetricLabelNoise inside wrappers, not around them.'
            )
        self.rate = rate
        self.seed = seed
        dataset.full_init()
        clean = get_labels(dataset)
        classes = dataset.metainfo.get('classes')
        self.labels = flip_labels(
            clean,
            len(classes) if classes else int(clean.max(initial=-1)) + 1,
            rate,
            seed,
        )
        where = np.flatnonzero(self.labels != clean)
        self._flips = np.stack([where, clean[where], self.labels[where]], 1)
        self.dataset = with_pipeline(
            dataset, [_Relabel(self.labels), *dataset.pipeline.transforms]
        )
        print_log(
            f'{len(where)} of {len(clean)} labels of {describe(dataset)} were '
            f'flipped to another class (rate {rate}, seed {seed}).',
            logger='current',
        )

    @property
    def flips(self) -> np.ndarray:
        """Index, true label and noisy label of each flipped label.

        Shape:
            - output: (number of flips, 3), int64, by ascending index
        """
        return self._flips.copy()

    @property
    def metainfo(self) -> dict:
        """The meta information of the wrapped data set."""
        return self.dataset.metainfo

    def full_init(self) -> None:
        """Do nothing, because the data set is loaded already."""

    def get_data_info(self, idx: int) -> dict:
        """Get the annotation of an image, with its noisy label."""
        info = self.dataset.get_data_info(idx)
        return dict(info, gt_label=int(self.labels[idx]))

    def get_gt_labels(self) -> np.ndarray:
        """Get the noisy labels of all images."""
        return self.labels.copy()

    def get_cat_ids(self, idx: int) -> list[int]:
        """Get the noisy label of an image, for ``ClassBalancedDataset``."""
        return [int(self.labels[idx])]

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, idx: int):
        return self.dataset[idx]

    def __repr__(self) -> str:
        return (
            f'{type(self).__name__}(rate={self.rate}, seed={self.seed}, '
            f'flipped={len(self._flips)})\n{self.dataset}'
        )
