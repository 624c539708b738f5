"""Making corrupted sets that a suite wants and nobody published."""
from pathlib import Path
from typing import Callable, Optional

import numpy as np
import torch

from ...datasets.corrupted_sets import ArraySource, write_corrupted_set
from ...engine.whole_files import whole_files
from .images import ImageBatches, TestPipeline
from .sets import Cell, Suite, SuiteSet

SEED = 0
Report = Callable[[str, int, int], None]


def make_corrupted(suite: Suite,
                   corrupted: SuiteSet,
                   workers: int = 2,
                   report: Optional[Report] = None) -> None:
    """Corrupt the clean set of a suite, unless that was done.

    A run that was stopped goes on where it was; the same command makes the
    same bytes. The clean images are kept beside them.

    Args:
        suite (Suite): With the clean set.
        corrupted (SuiteSet): One with ``make``, whose data set is
            ``CorruptedArrays`` or a class of it.
        workers (int): Processes. Defaults to 2.
        report (Callable, optional): See
            :func:`~mmanchor.datasets.corrupted_sets.write_corrupted_set`.

    Raises:
        FileNotFoundError: The clean set is not there.
        ImportError: imagecorruptions-imaug is not installed.
        ValueError: The folder was made otherwise, or has no room.
    """
    root = Path(corrupted.dataset['data_root'])
    kinds = corrupted.all_kinds
    if all((root / f'{kind}.npy').is_file()
           for kind in kinds) and (root / 'labels.npy').is_file():
        return
    clean = ImageBatches(
        Cell(suite.clean.name, suite.clean.dataset, corrupted.steps),
        TestPipeline([dict(type='PackInputs')]), 1024, workers)
    # in RGB, as the pipeline reads no files
    images = torch.cat(list(clean)).permute(0, 2, 3, 1)
    if images.dtype != torch.uint8:
        raise ValueError(
            f'Expected images in uint8 after `steps` of {corrupted.name}, but '
            f'got {images.dtype}. Change `steps`.')
    with whole_files(root) as partial:
        np.save(partial / 'clean_images.npy', images.numpy())
        np.save(partial / 'clean_labels.npy', clean.labels.numpy())
    write_corrupted_set(
        ArraySource(root / 'clean_images.npy', root / 'clean_labels.npy'),
        root, kinds, SEED, workers, report)
