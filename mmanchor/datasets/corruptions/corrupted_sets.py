"""Whole corrupted sets on disk, in the published layouts."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Sequence
from contextlib import closing
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

from ..image_folders import list_folders, list_images, listed
from ..mapped_arrays import open_images, open_labels
from ..shifts.kinds import (
    ALL_C_KINDS,
    IMAGENET_C,
    SEVERITIES,
    check_kind,
    check_settings,
)
from .imagenet_c import SMALLEST, load_library
from .jobs import corrupt_files, corrupt_rows, jobs_of, run_jobs

RECORD = 'made_by.json'
LIBRARY = 'imagecorruptions-imaug'
Report = Callable[[str, int, int], None]


def _replace_text(path: Path, text: str) -> None:
    partial = path.with_name(f'.{path.name}.partial')
    partial.write_text(text, encoding='utf-8')
    os.replace(partial, path)


def _take_room(path: Path) -> None:
    """Have all of a file's blocks: a mapped one that has not ends Python."""
    if not hasattr(os, 'posix_fallocate'):  # macOS
        return
    try:
        with open(path, 'r+b') as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    except OSError as error:
        path.unlink()
        raise OSError(
            f'Expected room for corrupted images in {path.parent}, '
            f'but got: {error.strerror}. Make room, and run the '
            'same command again: it goes on.'
        ) from error


def read_record(folder: str | Path) -> dict | None:
    """How a corrupted set was made.

    Args:
        folder (str | Path): Of the set.

    Returns:
        dict | None: ``settings``, ``seed``, ``images`` (a hash), ``library``
        and ``versions``; None where there is no record: a set that is not
        there, or was published.
    """
    path = Path(folder).expanduser() / RECORD
    if not path.exists():
        return None
    # ImageNet-C's are the only settings there were before they were recorded
    return dict(
        dict(settings=IMAGENET_C),
        **json.loads(path.read_text(encoding='utf-8')),
    )


def _check_same(source, out: Path, made_by: dict) -> None:
    """Refuse to add to a set that was made otherwise, or published."""
    path = out / RECORD
    known = read_record(out)
    if known is not None:
        for key, value in made_by.items():
            if known.get(key) != value:
                raise ValueError(
                    f'Expected {out} to hold kinds made with the same '
                    f'{key}, but got {known.get(key)!r} there and {value!r} '
                    'now. Change the folder, or remove it.'
                )
        return
    others = [
        kind for kind in ALL_C_KINDS if source.target(out, kind).exists()
    ]
    if others:
        raise ValueError(
            f'Expected {out} to hold what was made here, with {RECORD}, or '
            f'nothing, but got {listed(others)} without it. Change the '
            'folder.'
        )
    versions = {}
    for name in ('numpy', 'scipy', 'scikit-image', 'opencv-python', 'pillow'):
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = None
    out.mkdir(parents=True, exist_ok=True)
    _replace_text(path, json.dumps(dict(made_by, versions=versions), indent=2))


class ArraySource:
    """An array of images and its labels, to corrupt into a layout as CIFAR's.

    Args:
        images (str | Path): ``.npy`` of (N, H, W, 3), uint8.
        labels (str | Path): ``.npy`` of N labels.

    Raises:
        FileNotFoundError: A file is not there.
        ValueError: A file is not as above.
    """

    def __init__(self, images: str | Path, labels: str | Path):
        self.path = Path(images)
        self.images, self.labels = open_images(images), open_labels(labels)
        if len(self.images) != len(self.labels):
            raise ValueError(
                f'Expected as many labels in {labels} as {images} has images,'
                f' {len(self.images)}, but got {len(self.labels)}. Change '
                'either.'
            )
        if min(self.images.shape[1:3]) < SMALLEST:
            raise ValueError(
                f'Expected images of at least {SMALLEST} pixels '
                f'a side, but got {self.images.shape}. Resize '
                'them.'
            )

    def __len__(self) -> int:
        return len(self.images)

    def fingerprint(self) -> str:
        """A hash of all images and labels."""
        digest = hashlib.sha256(str(self.images.shape).encode())
        for rows in jobs_of(len(self), self.images[0].nbytes):
            digest.update(np.ascontiguousarray(self.images[rows]))
        digest.update(self.labels)
        return digest.hexdigest()

    def prepare(self, out: Path, kinds: Sequence[str]) -> None:
        """Make sure there is room, and write the labels."""
        needed = len(kinds) * len(SEVERITIES) * self.images.nbytes
        free = shutil.disk_usage(out).free
        if needed > free:
            raise ValueError(
                f'Expected {needed / 2**30:.1f} GiB of room in '
                f'{out}, but got {free / 2**30:.1f}. Change the '
                'folder, or name fewer kinds.'
            )
        partial = out / '.labels.npy.partial'
        with open(partial, 'wb') as file:
            np.save(file, np.tile(self.labels, len(SEVERITIES)))
        os.replace(partial, out / 'labels.npy')

    def target(self, out: Path, kind: str) -> Path:
        """Where a kind goes."""
        return out / f'{kind}.npy'

    def write(
        self, partial: Path, kind: str, seed: int, settings: str, workers: int
    ):
        """Write a kind, yielding the number of images as they are done."""
        shape = (len(SEVERITIES) * len(self), *self.images.shape[1:])
        np.lib.format.open_memmap(
            partial, mode='w+', dtype=np.uint8, shape=shape
        ).flush()
        _take_room(partial)
        jobs = [
            (self.path, partial, kind, severity, rows, seed, settings)
            for severity in SEVERITIES
            for rows in jobs_of(len(self), self.images[0].nbytes)
        ]
        yield from run_jobs(corrupt_rows, jobs, workers)


class FolderSource:
    """Images in class folders, to corrupt into a layout as ImageNet's.

    Args:
        folder (str | Path): With the class folders.
        size (int, optional): Images are cut to a square of it, as
            ImageNet-C's to 224. Defaults to None, as they are.

    Raises:
        FileNotFoundError: There is no such folder.
        ValueError: It holds no image in class folders, or ``size`` is too
            small.
    """

    def __init__(self, folder: str | Path, size: int | None = None):
        self.folder, self.size = Path(folder), size
        if size is not None and size < SMALLEST:
            raise ValueError(
                f'Expected `size` to be at least {SMALLEST}, but '
                f'got {size}. Change it.'
            )
        self.classes = list_folders(folder)
        self.names: list[str] = [
            str(path.relative_to(self.folder))
            for name in self.classes
            for path in list_images(self.folder / name)
        ]
        if not self.names:
            raise ValueError(
                f'Expected {folder} to hold images in class '
                'folders, but got none. Change the folder.'
            )

    def __len__(self) -> int:
        return len(self.names)

    def fingerprint(self) -> str:
        """A hash of all names and sizes of files, and of ``size``."""
        files = [
            (name, os.path.getsize(self.folder / name)) for name in self.names
        ]
        # sets that were cut otherwise, by an older version, are not added to
        cut = self.size and f'torchvision {self.size}'
        return hashlib.sha256(repr((files, cut)).encode()).hexdigest()

    def prepare(self, out: Path, kinds: Sequence[str]) -> None:
        """Nothing: labels are names of folders."""

    def target(self, out: Path, kind: str) -> Path:
        """Where a kind goes."""
        return out / kind

    def write(
        self, partial: Path, kind: str, seed: int, settings: str, workers: int
    ):
        """Write a kind, yielding the number of images as they are done."""
        # a class without images has to be counted among the classes too
        for severity in SEVERITIES:
            for name in self.classes:
                folder = partial / str(severity) / name
                folder.mkdir(parents=True, exist_ok=True)
        images = list(enumerate(self.names))
        jobs = [
            (
                self.folder,
                partial,
                kind,
                severity,
                images[rows.start : rows.stop],
                seed,
                settings,
                self.size,
            )
            for severity in SEVERITIES
            for rows in jobs_of(len(self), 2**19)
        ]
        yield from run_jobs(corrupt_files, jobs, workers)


def write_corrupted_set(
    source: ArraySource | FolderSource,
    out: str | Path,
    kinds: Sequence[str] = ALL_C_KINDS,
    seed: int = 0,
    workers: int = 1,
    report: Report | None = None,
    settings: str = IMAGENET_C,
) -> dict[str, list[str]]:
    """Write kinds of corruption at all severities; those there are kept.

    Files do not depend on ``workers``, nor on where a run was stopped.

    Args:
        source (ArraySource | FolderSource): The images.
        out (str | Path): The folder to write to.
        kinds (Sequence[str]): Some of ``ALL_C_KINDS``. Defaults to all.
        seed (int): Of all draws. Defaults to 0.
        workers (int): Processes. Defaults to 1.
        report (Callable, optional): Called with the kind, the number of
            images done and that of all, over kinds and severities.
        settings (str): See :func:`~.imagenet_c.corrupt`.
            Defaults to ``'imagenet-c'``.

    Returns:
        dict: The kinds ``written`` and ``kept``.

    Raises:
        ImportError: imagecorruptions-imaug is not installed.
        OSError: The disk is full.
        ValueError: An argument is out of range, ``out`` was made otherwise
            or has no room, or an image can't be read.
    """
    load_library()
    check_settings(settings)
    for kind in kinds:
        check_kind(kind, ALL_C_KINDS, LIBRARY)
    for name, value, least in (('seed', seed, 0), ('workers', workers, 1)):
        if value < least:
            raise ValueError(
                f'Expected `{name}` to be at least {least}, but '
                f'got {value}. Change it.'
            )
    out = Path(out)
    _check_same(
        source,
        out,
        dict(
            settings=settings,
            seed=seed,
            images=source.fingerprint(),
            library=f'{LIBRARY} {version(LIBRARY)}',
        ),
    )
    kinds = list(dict.fromkeys(kinds))
    kept = [kind for kind in kinds if source.target(out, kind).exists()]
    todo = [kind for kind in kinds if kind not in kept]
    source.prepare(out, todo)
    done, total = 0, len(todo) * len(SEVERITIES) * len(source)
    for kind in todo:
        partial = out / f'.{kind}.partial'
        # closed at once where `report` stops it, with its processes
        with closing(
            source.write(partial, kind, seed, settings, workers)
        ) as counts:
            for count in counts:
                done += count
                if report:
                    report(kind, done, total)
        os.replace(partial, source.target(out, kind))
    return dict(written=todo, kept=kept)
