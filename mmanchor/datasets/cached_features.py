"""Features of images, computed once and cached in a file."""

import hashlib
import json
import os
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import torch
from mmpretrain.structures import DataSample
from torch.utils.data import Dataset

from ..utils.config import changes
from ..utils.files import whole_files

MADE_FROM = 'made_from'
_MAX_SHOWN = 64  # characters, as a SHA-256 has; a pipeline has more


def read_features(path: str | Path, made_from: dict) -> dict | None:
    """Read the arrays that :func:`write_features` wrote.

    Args:
        path (str | Path): The file.
        made_from (dict): Everything that the features depend on, in types of
            JSON.

    Returns:
        Dict[str, numpy.ndarray] | None: The arrays by name; None if the file
        does not exist or is damaged, so that they have to be computed.

    Raises:
        ValueError: The features were made from something else, such as other
            weights or another pipeline.
    """
    try:
        # NumPy leaves a damaged file open that it opened itself
        with open(path, 'rb') as opened:
            with np.load(opened, allow_pickle=False) as file:
                arrays = dict(file.items())
        known = json.loads(str(arrays.pop(MADE_FROM)))
    except (OSError, EOFError, KeyError, ValueError, BadZipFile, zlib.error):
        return None
    different = []
    for name, values in changes(
        known, json.loads(json.dumps(made_from))
    ).items():
        text = f'another {name}'
        if max(len(str(one)) for one in values) <= _MAX_SHOWN:
            text += f' ({values[0]} then, {values[1]} now)'
        different.append(text)
    if different:
        raise ValueError(
            f'Expected {path} to hold features of this model and these '
            f'images, but they were made from {", ".join(different)}. Remove '
            'the file, and they are computed again.'
        )
    return arrays


def write_features(path: str | Path, made_from: dict, **arrays) -> bool:
    """Write features, and what they were made from, to an ``.npz`` file.

    Returns:
        bool: False if the folder has no room or permission. The features are
        then computed again the next time.
    """
    path = Path(path)
    try:
        with whole_files(path.parent) as partial:
            np.savez(
                partial / path.name, made_from=json.dumps(made_from), **arrays
            )
    except (OSError, ValueError):
        return False
    return True


def image_files_sha256(dataset) -> str | None:
    """Hash the paths, sizes and times of the image files of a data set.

    It changes if a file is replaced by another of the same name. No file is
    opened, so that 50,000 files take about a second. The hash is None if the
    samples of the data set name no files.

    Example:
        >>> image_files_sha256([1, 2]) is None
        True
    """
    info_of = getattr(dataset, 'get_data_info', None)
    if info_of is None or not len(dataset) or 'img_path' not in info_of(0):
        return None
    digest = hashlib.sha256()
    for index in range(len(dataset)):
        path = info_of(index).get('img_path')
        try:
            stat = os.stat(path)
            of_file = (path, stat.st_size, stat.st_mtime_ns)
        except (OSError, TypeError, ValueError):  # in a store of a cluster
            of_file = (path,)
        digest.update(repr(of_file).encode())
    return digest.hexdigest()


def compute_features(
    dataset: Dataset,
    rows: Sequence[int],
    features_of: Callable[[torch.Tensor], torch.Tensor],
    batch_size: int = 256,
    workers: int = 2,
    report: Callable[[float], None] = lambda share: None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Compute the features of images of a data set.

    Args:
        dataset (Dataset): Its items have ``inputs``, all of one size, and
            ``data_samples`` with one label each.
        rows (Sequence[int]): The indices of the images.
        features_of (Callable): Computes the features of a batch of
            ``inputs``.
        batch_size (int): Number of images in a batch. Defaults to 256.
        workers (int): Threads that read images. Defaults to 2.
        report (Callable): Called after each batch with the share of images
            that are done.

    Shape:
        - output: features (N, ...), on the CPU, and labels (N,), int64

    Raises:
        ValueError: An image has no label, or several.
    """
    features, labels = [], []
    with ThreadPoolExecutor(workers) as readers:
        for start in range(0, len(rows), batch_size):
            some = [int(row) for row in rows[start : start + batch_size]]
            samples = list(readers.map(dataset.__getitem__, some))
            labels += [_label_of(one['data_samples']) for one in samples]
            images = torch.stack([one['inputs'] for one in samples])
            features.append(features_of(images).cpu())
            report((start + len(some)) / len(rows))
    return torch.cat(features), torch.tensor(labels)


def _label_of(sample) -> int:
    label = sample.get('gt_label')
    if label is None or len(label) != 1:
        raise ValueError(
            'Expected a training set with one label an image to use its '
            f'features, but got {0 if label is None else len(label)}. Leave '
            'out what needs them.'
        )
    return int(label)


class FeatureDataset(Dataset):
    """A data set of features and labels, instead of images.

    ``metainfo`` is that of the data set of the images.

    Shape:
        - features: (N, D)
        - labels: (N,), int64

    Example:
        >>> dataset = FeatureDataset(torch.zeros(2, 5), torch.tensor([1, 0]))
        >>> batch = dataset.collate([dataset[0], dataset[1]])
        >>> batch['inputs'].shape, int(batch['data_samples'][0].gt_label)
        (torch.Size([2, 5]), 1)
    """

    def __init__(
        self,
        features: torch.Tensor,
        labels: torch.Tensor,
        metainfo: dict | None = None,
    ):
        self.features, self.labels = features, labels
        self.metainfo = metainfo or {}

    def __len__(self) -> int:
        return len(self.features)

    def __getitem__(self, index: int) -> dict:
        sample = DataSample().set_gt_label(self.labels[index])
        return dict(inputs=self.features[index], data_samples=sample)

    @staticmethod
    def collate(items: Sequence[dict]) -> dict:
        """Stack the features of a batch, and list its data samples."""
        return dict(
            inputs=torch.stack([one['inputs'] for one in items]),
            data_samples=[one['data_samples'] for one in items],
        )
