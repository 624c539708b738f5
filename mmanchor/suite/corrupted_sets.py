"""Makes the corrupted test sets of a suite that nobody published."""

import json
from pathlib import Path

import numpy as np
import torch
from mmpretrain.registry import DATASETS

from ..datasets.corruptions.set_writer import (
    RECORD,
    ArraySource,
    Report,
    read_record,
    write_corrupted_set,
)
from ..datasets.reference_sampling import round_robin
from ..datasets.shifts.kinds import ALL_C_KINDS, IMAGENET_C
from ..utils.files import whole_files
from ..utils.locks import only_run
from .images import ImageBatches, TestPipeline, fingerprint
from .spec import Cell, Suite, SuiteSet

SEED = 0
CLEAN = ('clean_images.npy', 'clean_labels.npy')
CLEAN_MASK = 'clean_mask.npy'
MADE_FROM = 'made_from.json'


def make_corrupted(
    suite: Suite,
    corrupted: SuiteSet,
    workers: int = 2,
    report: Report | None = None,
    wait: bool = False,
) -> bool:
    """Corrupt the clean set of a suite, unless the corrupted set exists.

    A run that was stopped resumes, and the same command makes the same bytes.
    The folder also gets a copy of the clean images. Returns True, because the
    set then exists.

    Args:
        suite (Suite): The suite, with the clean set.
        corrupted (SuiteSet): A set with ``make``, whose data set is
            ``CorruptedArrays`` or a subclass.
        workers (int): The number of processes. Defaults to 2.
        report (Callable, optional): See
            :func:`~mmanchor.datasets.corruptions.set_writer.write_corrupted_set`.
        wait (bool): Whether to wait for another run that makes the same set.
            Defaults to False.

    Raises:
        FileNotFoundError: The clean set is missing.
        ImportError: imagecorruptions-imaug is not installed.
        OSError: The disk is full.
        ValueError: The folder was made from other images or with other
            settings, or can't be written to; there are fewer clean images
            than asked for; or another run makes the set.
    """
    root = Path(corrupted.dataset['data_root'])
    kinds = corrupted.all_kinds
    cell = Cell(suite.clean.name, suite.clean.dataset, corrupted.steps)
    asked = [] if corrupted.images is None else [corrupted.images]
    made_from = json.dumps([repr(cell), fingerprint(cell), *asked])
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
                return True  # the other run made it
            _check_settings(root, corrupted)
            mask = _select_images(clean, corrupted)
            images = _read(clean, corrupted.name)
            with whole_files(root) as partial:
                for array, file in zip((images, clean.labels.numpy()), CLEAN):
                    np.save(partial / file, array)
                if mask is not None:
                    np.save(partial / CLEAN_MASK, mask)
                _check_same(root, _clean_copy(partial), suite.clean.name)
            write_corrupted_set(
                _clean_copy(root),
                root,
                kinds,
                SEED,
                workers,
                report,
                corruption_settings(corrupted),
            )
            (root / MADE_FROM).write_text(made_from, encoding='utf-8')
    except OSError as error:
        raise OSError(
            f'Expected room for corrupted images in {root}, but '
            f'got: {error.strerror or error}. Make room, and run '
            'the same command again: it goes on.'
        ) from error
    return True


def corruption_settings(corrupted: SuiteSet) -> str:
    """The settings that a set is made with."""
    return corrupted.settings or IMAGENET_C


def describe_corruptions(suite: Suite) -> dict[str, dict]:
    """Describe the settings of the corrupted sets of a suite.

    Args:
        suite (Suite): The suite. Sets that are made must exist.

    Returns:
        dict: For each set with the kinds of ImageNet-C: its ``settings``,
        None if they were not recorded; and the number of clean ``images``
        that are corrupted, None if all are.
    """
    described = {}
    for one in suite.shifts:
        kind = DATASETS.get(one.dataset['type'])
        if one.is_corrupted and kind.KINDS == ALL_C_KINDS:
            root = one.dataset.get('data_root', '')
            record, mask = read_record(root), clean_mask(root)
            is_gone = one.make and not Path(root).exists()
            settings = corruption_settings(one) if is_gone else kind.SETTINGS
            images = one.images if is_gone else None
            described[one.name] = dict(
                settings=record['settings'] if record else settings,
                images=images if mask is None else int(mask.sum()),
            )
    return described


def clean_mask(root: str | Path) -> np.ndarray | None:
    """Read which of the clean images a corrupted set has copies of.

    Shape:
        - output: (N,), bool, for N clean images; None if it has all of them
    """
    path = Path(root).expanduser() / CLEAN_MASK
    return np.load(path) if path.exists() else None


def _check_settings(root: Path, corrupted: SuiteSet) -> None:
    """Raise if a set was made with other settings."""
    record, settings = read_record(root), corruption_settings(corrupted)
    if record is not None and record['settings'] != settings:
        raise ValueError(
            f'Expected {corrupted.name} in {root} to be made with the '
            f'settings {settings}, but got a set with {record["settings"]}. '
            'Change `settings` or `data_root`, or remove the folder.'
        )


def _select_images(
    clean: ImageBatches, corrupted: SuiteSet
) -> np.ndarray | None:
    """Keep only the clean images to corrupt, and return which they are."""
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
    """Read all images, (N, H, W, C), in RGB."""
    images = torch.cat(list(clean)).permute(0, 2, 3, 1)
    if images.dtype != torch.uint8:
        raise ValueError(
            f'Expected images in uint8 after `steps` of {name}, but got '
            f'{images.dtype}. Change `steps`.'
        )
    return images.numpy()


def _is_made(root: Path, kinds, made_from: str) -> bool:
    """Whether all files exist, and were made from the same images."""
    names = ['labels.npy', *(f'{kind}.npy' for kind in kinds)]
    if not all((root / name).is_file() for name in names):
        return False
    record = root / MADE_FROM
    if record.exists():
        return record.read_text(encoding='utf-8') == made_from
    return not (root / RECORD).exists()


def _clean_copy(folder: Path) -> ArraySource:
    return ArraySource(*(folder / name for name in CLEAN))


def _check_same(root: Path, source: ArraySource, name: str) -> None:
    """Raise if the folder holds a set that was made from other images."""
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
