"""Making corrupted sets that a suite wants and nobody published."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from mmpretrain.registry import DATASETS

from ..datasets.corruptions.set_writer import (
    RECORD,
    ArraySource,
    read_record,
    write_corrupted_set,
)
from ..datasets.reference_sampling import round_robin
from ..datasets.shifts.kinds import ALL_C_KINDS, IMAGENET_C
from ..utils.files import whole_files
from ..utils.locks import only_run
from .fingerprints import stamp_of
from .images import ImageBatches, TestPipeline
from .spec import Cell, Suite, SuiteSet

SEED = 0
CLEAN = ('clean_images.npy', 'clean_labels.npy')
CLEAN_MASK = 'clean_mask.npy'
MADE_FROM = 'made_from.json'
Report = Callable[[str, int, int], None]


def make_corrupted(
    suite: Suite,
    corrupted: SuiteSet,
    workers: int = 2,
    report: Report | None = None,
    wait: bool = False,
) -> bool:
    """Corrupt the clean set of a suite, unless that was done.

    A run that was stopped goes on where it was; the same command makes the
    same bytes. The clean images are kept beside them.

    Args:
        suite (Suite): With the clean set.
        corrupted (SuiteSet): One with ``make``, whose data set is
            ``CorruptedArrays`` or a class of it.
        workers (int): Processes. Defaults to 2.
        report (Callable, optional): See
            :func:`~mmanchor.datasets.corruptions.set_writer.write_corrupted_set`.
        wait (bool): Whether to wait for another run that makes it. Defaults
            to False.

    Returns:
        bool: True: all is there.

    Raises:
        FileNotFoundError: The clean set is not there.
        ImportError: imagecorruptions-imaug is not installed.
        OSError: The disk is full.
        ValueError: The folder was made of other images or with other
            settings, or has no room; more images are asked for than there
            are; or another run makes it.
    """
    root = Path(corrupted.dataset['data_root'])
    kinds = corrupted.all_kinds
    cell = Cell(suite.clean.name, suite.clean.dataset, corrupted.steps)
    asked = [] if corrupted.images is None else [corrupted.images]
    made_from = json.dumps([repr(cell), stamp_of(cell), *asked])
    _check_settings(root, corrupted)
    if _is_made(root, kinds, made_from):
        return True
    clean = ImageBatches(
        cell, TestPipeline([dict(type='PackInputs')]), 1024, workers
    )
    try:
        another = f'change `data_root` of {corrupted.name}'
        with only_run(root, another, wait):
            if _is_made(root, kinds, made_from):
                return True  # by the run that was waited for
            _check_settings(root, corrupted)
            mask = _draw(clean, corrupted)
            images = _read(clean, corrupted.name)
            with whole_files(root) as partial:
                source = _save(partial, images, clean.labels.numpy())
                if mask is not None:
                    np.save(partial / CLEAN_MASK, mask)
                _check_same(root, source, suite.clean.name)
            source = ArraySource(*(root / name for name in CLEAN))
            write_corrupted_set(
                source,
                root,
                kinds,
                SEED,
                workers,
                report,
                settings_of(corrupted),
            )
            (root / MADE_FROM).write_text(made_from, encoding='utf-8')
    except OSError as error:
        raise OSError(
            f'Expected room for corrupted images in {root}, but '
            f'got: {error.strerror or error}. Make room, and run '
            'the same command again: it goes on.'
        ) from error
    return True


def settings_of(corrupted: SuiteSet) -> str:
    """The settings that a set is made with."""
    return corrupted.settings or IMAGENET_C


def describe_corruptions(suite: Suite) -> dict[str, dict]:
    """What the figures of a suite's corrupted sets depend on.

    Args:
        suite (Suite): Any; sets that are made have to be there.

    Returns:
        dict: Of each set with kinds as of ImageNet-C: the ``settings``, None
        where nobody recorded them; and how many clean ``images`` are
        corrupted, None where that is all.
    """
    found = {}
    for one in suite.shifts:
        kind = DATASETS.get(one.dataset['type'])
        if one.is_corrupted and kind.KINDS == ALL_C_KINDS:
            root = one.dataset.get('data_root', '')
            record, mask = read_record(root), clean_mask(root)
            found[one.name] = dict(
                settings=record['settings'] if record else kind.SETTINGS,
                images=None if mask is None else int(mask.sum()),
            )
    return found


def clean_mask(root: str | Path) -> np.ndarray | None:
    """Which of the clean images a set that was made has copies of.

    Args:
        root (str | Path): The set's folder.

    Shape:
        - output: (N,), bool, of N clean images; None where it has all
    """
    path = Path(root).expanduser() / CLEAN_MASK
    return np.load(path) if path.exists() else None


def _check_settings(root: Path, corrupted: SuiteSet) -> None:
    """Refuse a set that was made with other settings."""
    record, settings = read_record(root), settings_of(corrupted)
    if record is not None and record['settings'] != settings:
        raise ValueError(
            f'Expected {corrupted.name} in {root} to be made with the '
            f'settings {settings}, but got a set with {record["settings"]}. '
            'Change `settings` or `data_root`, or remove the folder.'
        )


def _draw(clean: ImageBatches, corrupted: SuiteSet) -> np.ndarray | None:
    """Leave out the clean images that are not to be corrupted."""
    count, total = corrupted.images, len(clean)
    if count is None:
        return None
    if count > total:
        raise ValueError(
            f'Expected `images` of {corrupted.name} to be at most {total}, as '
            f'many as there are clean images, but got {count}. Change it.'
        )
    order = np.random.default_rng(SEED).permutation(total)
    rows = np.sort(round_robin(clean.labels.numpy(), order)[:count])
    clean.select(rows)
    return np.isin(np.arange(total), rows)


def _read(clean: ImageBatches, name: str) -> np.ndarray:
    """All images, (N, H, W, C), in RGB, as the pipeline reads no files."""
    images = torch.cat(list(clean)).permute(0, 2, 3, 1)
    if images.dtype != torch.uint8:
        raise ValueError(
            f'Expected images in uint8 after `steps` of {name}, but got '
            f'{images.dtype}. Change `steps`.'
        )
    return images.numpy()


def _is_made(root: Path, kinds, made_from: str) -> bool:
    """Whether all is there, and of these images if it was made here."""
    names = ['labels.npy', *(f'{kind}.npy' for kind in kinds)]
    if not all((root / name).is_file() for name in names):
        return False
    record = root / MADE_FROM
    if record.exists():
        return record.read_text(encoding='utf-8') == made_from
    return not (root / RECORD).exists()


def _save(folder: Path, *arrays: np.ndarray) -> ArraySource:
    for name, array in zip(CLEAN, arrays):
        np.save(folder / name, array)
    return ArraySource(*(folder / name for name in CLEAN))


def _check_same(root: Path, source: ArraySource, name: str) -> None:
    """Refuse to add to a set of other images, before they are replaced."""
    path = root / RECORD
    if (
        path.exists()
        and json.loads(path.read_text(encoding='utf-8')).get('images')
        != source.fingerprint()
    ):
        raise ValueError(
            f'Expected {root} to hold corrupted images of {name}, but got '
            'those of others, or of other labels, `images` or `steps`. Change '
            '`data_root`, or remove the folder.'
        )
