"""Writes corrupted data sets to disk, in the published layouts.

A set is written by jobs of some images each, in one or more processes.
"""

import functools
import hashlib
import json
import multiprocessing
import os
import shutil
import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import closing
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from torchvision.transforms.functional import center_crop, resize

from ...utils.files import whole_files
from ...utils.names import shorten_list
from ..image_folders import list_folders, list_images, open_rgb
from ..mapped_arrays import open_images, open_labels
from ..shifts.kinds import (
    ALL_C_KINDS,
    IMAGENET_C,
    SEVERITIES,
    check_corruption_kind,
    check_settings,
)
from .corrupt import MIN_SIDE, corrupt, load_library

RECORD = 'made_by.json'
LIBRARY = 'imagecorruptions-imaug'
MAX_IMAGES_PER_JOB = 250
# gets the kind, the number of finished images and the total number
Report = Callable[[str, int, int], None]


def _start_worker() -> None:
    cv2.setNumThreads(0)  # the workers occupy all cores already
    # Ctrl-C reaches all processes; the main process ends the workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def run_jobs(
    function: Callable[..., int], jobs: Iterable[tuple], workers: int
) -> Iterator[int]:
    """Call a function with each job's arguments, in any order.

    The function, at module level so that it can be pickled, returns a number,
    which is yielded whenever a job ends. One worker starts no other process.
    """
    if workers == 1:
        yield from (function(*job) for job in jobs)
        return
    can_fork = 'fork' in multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context('fork' if can_fork else None)
    with ProcessPoolExecutor(
        workers, context, initializer=_start_worker
    ) as pool:
        futures = [pool.submit(function, *job) for job in jobs]
        try:
            for future in as_completed(futures):
                yield future.result()
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def split_into_jobs(count: int, image_bytes: int = 1) -> Iterator[range]:
    """Split images into ranges of some megabytes, one for each job.

    Example:
        >>> list(split_into_jobs(400))
        [range(0, 250), range(250, 400)]
    """
    size = max(1, min(MAX_IMAGES_PER_JOB, 2**23 // image_bytes))
    for start in range(0, count, size):
        yield range(start, min(start + size, count))


def corrupt_rows(
    source: Path, target: Path, severity: int, rows: range, apply: Callable
) -> int:
    """Corrupt rows of an array on disk, and write them to another array.

    Args:
        source (Path): ``.npy`` file of (N, H, W, 3).
        target (Path): Existing ``.npy`` file of (5·N, H, W, 3).
        severity (int): 1 to 5.
        rows (range): The rows of ``source``.
        apply (Callable): :func:`~.corrupt.corrupt` with the kind, the seed and
            the settings already given.
    """
    images = open_images(source)
    corrupted = np.lib.format.open_memmap(target, mode='r+')
    start = (severity - 1) * len(images)
    for row in rows:
        corrupted[start + row] = apply(
            images[row], severity=severity, index=row
        )
    corrupted.flush()
    return len(rows)


def read_image(path: Path, size: int | None = None) -> np.ndarray:
    """Read an image as RGB, and optionally crop it to a square.

    Args:
        path (Path): The image file.
        size (int, optional): Side of the square. The shorter side is resized
            to 8/7 of it, then the centre is cropped. For 224 these are
            torchvision's ``Resize(256)`` and ``CenterCrop(224)``, as in
            ImageNet-C. Defaults to None: no crop.

    Shape:
        - output: (H, W, 3), uint8

    Raises:
        ValueError: See :func:`~mmanchor.datasets.image_folders.open_rgb`.
    """
    image = open_rgb(path)
    if size:
        # torchvision's rounding decides which pixels are cropped.
        image = resize(image, round(size * 8 / 7))
        image = center_crop(image, size)
    return np.asarray(image)


def write_image(image: np.ndarray, path: Path) -> None:
    """Write an image atomically, in the format of its file name."""
    kind = Image.registered_extensions()[path.suffix.lower()]
    settings = dict(
        JPEG=dict(quality=85, optimize=True),  # as ImageNet-C
        WEBP=dict(lossless=True),
    ).get(kind, {})
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f'.{path.name}.partial')
    Image.fromarray(image).save(partial, kind, **settings)
    os.replace(partial, path)


def corrupt_files(
    source: Path,
    target: Path,
    severity: int,
    images: Sequence[tuple[int, str]],
    apply: Callable,
    size: int | None,
) -> int:
    """Corrupt images of a folder, and write those that don't exist yet.

    Args:
        source (Path): The folder that contains the class folders.
        target (Path): The folder of the kind.
        severity (int): 1 to 5.
        images (Sequence[tuple]): The index of each image, and its path
            relative to ``source``.
        apply (Callable): :func:`~.corrupt.corrupt` with the kind, the seed and
            the settings already given.
        size (int, optional): See :func:`read_image`.
    """
    for index, name in images:
        path = target / str(severity) / name
        if not path.exists():
            image = read_image(source / name, size)
            write_image(apply(image, severity=severity, index=index), path)
    return len(images)


def _preallocate(path: Path) -> None:
    """Preallocate a file.

    Writing through a memory map on a full disk kills Python (SIGBUS).
    """
    if not hasattr(os, 'posix_fallocate'):  # macOS
        return
    try:
        with open(path, 'r+b') as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    except OSError as error:
        path.unlink()
        raise OSError(
            f'Expected room for corrupted images in {path.parent}, but got: '
            f'{error.strerror}. Make room, and run the same command again to '
            'continue.'
        ) from error


def read_record(folder: str | Path) -> dict | None:
    """Read the record of how a corrupted set was made.

    It has ``settings``, ``seed``, ``images`` (a hash), ``library`` and
    ``versions``. It is None if the set does not exist or is a published one.
    """
    path = Path(folder).expanduser() / RECORD
    if not path.exists():
        return None
    # Sets without recorded settings are from before there were other settings.
    record = json.loads(path.read_text(encoding='utf-8'))
    return dict(settings=IMAGENET_C) | record


def _check_record(source, out: Path, made_by: dict) -> None:
    """Raise if a set was published or made differently, else record it."""
    known = read_record(out)
    if known is not None:
        for key, value in made_by.items():
            if known.get(key) != value:
                raise ValueError(
                    f'Expected {out} to contain kinds made with the same '
                    f'{key}, but got {known.get(key)!r} there and {value!r} '
                    'now. Change the folder, or remove it.'
                )
        return
    others = [
        kind for kind in ALL_C_KINDS if source.target(out, kind).exists()
    ]
    if others:
        raise ValueError(
            f'Expected {out} to be empty or to contain {RECORD}, but got '
            f'{shorten_list(sorted(others), 5)} without it. Change the '
            'folder.'
        )
    versions = {}
    for name in ('numpy', 'scipy', 'scikit-image', 'opencv-python', 'pillow'):
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = None
    with whole_files(out) as partial:
        text = json.dumps(dict(made_by, versions=versions), indent=2)
        (partial / RECORD).write_text(text, encoding='utf-8')


class ArraySource:
    """An array of images, which becomes a set in the layout of CIFAR-10-C.

    Args:
        images (str | Path): ``.npy`` file of (N, H, W, 3) in uint8.
        labels (str | Path): ``.npy`` file of N labels.

    Raises:
        FileNotFoundError: A file does not exist.
        ValueError: A file has another layout.
    """

    def __init__(self, images: str | Path, labels: str | Path):
        self.path = Path(images)
        self.images, self.labels = open_images(images), open_labels(labels)
        if len(self.images) != len(self.labels):
            raise ValueError(
                f'Expected as many labels in {labels} as {images} has images,'
                f' {len(self.images)}, but got {len(self.labels)}. Change one '
                'of the files.'
            )
        if min(self.images.shape[1:3]) < MIN_SIDE:
            raise ValueError(
                f'Expected images of at least {MIN_SIDE} pixels '
                f'a side, but got {self.images.shape}. Resize '
                'the images.'
            )

    def __len__(self) -> int:
        return len(self.images)

    def fingerprint(self) -> str:
        """Compute a hash of all images and labels."""
        digest = hashlib.sha256(str(self.images.shape).encode())
        for rows in split_into_jobs(len(self), self.images[0].nbytes):
            digest.update(np.ascontiguousarray(self.images[rows]))
        digest.update(self.labels)
        return digest.hexdigest()

    def prepare(self, out: Path, kinds: Sequence[str]) -> None:
        """Raise if the disk has too little room, and write the labels."""
        needed = len(kinds) * len(SEVERITIES) * self.images.nbytes
        free = shutil.disk_usage(out).free
        if needed > free:
            raise ValueError(
                f'Expected {needed / 2**30:.1f} GiB of room in '
                f'{out}, but got {free / 2**30:.1f}. Change the '
                'folder, or name fewer kinds.'
            )
        with whole_files(out) as partial:
            labels = np.tile(self.labels, len(SEVERITIES))
            np.save(partial / 'labels.npy', labels)

    def target(self, out: Path, kind: str) -> Path:
        """Get the path of a kind."""
        return out / f'{kind}.npy'

    def write(self, partial: Path, apply: Callable, workers: int):
        """Write a kind, and yield the number of images of each job."""
        shape = (len(SEVERITIES) * len(self), *self.images.shape[1:])
        np.lib.format.open_memmap(
            partial, mode='w+', dtype=np.uint8, shape=shape
        ).flush()
        _preallocate(partial)
        jobs = [
            (self.path, partial, severity, rows, apply)
            for severity in SEVERITIES
            for rows in split_into_jobs(len(self), self.images[0].nbytes)
        ]
        yield from run_jobs(corrupt_rows, jobs, workers)


class FolderSource:
    """Class folders, which become a set in the layout of ImageNet-C.

    Args:
        folder (str | Path): The folder that contains the class folders.
        size (int, optional): Images are cropped to a square with this side,
            which is 224 in ImageNet-C. Defaults to None: no crop.

    Raises:
        FileNotFoundError: The folder does not exist.
        ValueError: The class folders contain no image, or ``size`` is too
            small.
    """

    def __init__(self, folder: str | Path, size: int | None = None):
        self.folder, self.size = Path(folder), size
        if size is not None and size < MIN_SIDE:
            raise ValueError(
                f'Expected `size` to be at least {MIN_SIDE}, but '
                f'got {size}. Change `size`.'
            )
        self.classes = list_folders(folder)
        self.names: list[str] = [
            str(path.relative_to(self.folder))
            for name in self.classes
            for path in list_images(self.folder / name)
        ]
        if not self.names:
            raise ValueError(
                f'Expected {folder} to contain images in class '
                'folders, but got none. Change the folder.'
            )

    def __len__(self) -> int:
        return len(self.names)

    def fingerprint(self) -> str:
        """Compute a hash of names and sizes of files, and of ``size``."""
        files = [
            (name, os.path.getsize(self.folder / name)) for name in self.names
        ]
        # An older version cropped differently: don't add to its sets.
        cut = self.size and f'torchvision {self.size}'
        return hashlib.sha256(repr((files, cut)).encode()).hexdigest()

    def prepare(self, out: Path, kinds: Sequence[str]) -> None:
        """Do nothing, because folder names are the labels."""

    def target(self, out: Path, kind: str) -> Path:
        """Get the path of a kind."""
        return out / kind

    def write(self, partial: Path, apply: Callable, workers: int):
        """Write a kind, and yield the number of images of each job."""
        # Classes without images need their folders too, since these number the
        # classes.
        for severity in SEVERITIES:
            for name in self.classes:
                folder = partial / str(severity) / name
                folder.mkdir(parents=True, exist_ok=True)
        images = list(enumerate(self.names))
        jobs = [
            (
                self.folder,
                partial,
                severity,
                images[rows.start : rows.stop],
                apply,
                self.size,
            )
            for severity in SEVERITIES
            for rows in split_into_jobs(len(self), 2**19)
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
    """Write kinds of corruption at all severities, unless they exist already.

    The files depend neither on ``workers`` nor on where a run was stopped.

    Args:
        source (ArraySource | FolderSource): The images to corrupt.
        out (str | Path): The folder to write.
        kinds (Sequence[str]): Some of ``ALL_C_KINDS``. Defaults to all.
        seed (int): Seed of all random draws. Defaults to 0.
        workers (int): Number of processes. Defaults to 1.
        report (Callable, optional): Called with the current kind, the number
            of finished images and the total number, over all kinds and
            severities.
        settings (str): See :func:`~.corrupt.corrupt`. Defaults to
            ``'imagenet-c'``.

    Returns:
        dict: The lists ``written`` and ``kept`` of kinds.

    Raises:
        ImportError: imagecorruptions-imaug is not installed.
        OSError: The disk is full.
        ValueError: An argument is out of range, ``out`` was made differently
            or has too little room, or an image can't be read.
    """
    load_library()
    check_settings(settings)
    for kind in kinds:
        check_corruption_kind(kind, ALL_C_KINDS, LIBRARY)
    for name, value, least in (('seed', seed, 0), ('workers', workers, 1)):
        if value < least:
            raise ValueError(
                f'Expected `{name}` to be at least {least}, but '
                f'got {value}. Change `{name}`.'
            )
    out = Path(out)
    made_by = dict(
        settings=settings,
        seed=seed,
        images=source.fingerprint(),
        library=f'{LIBRARY} {version(LIBRARY)}',
    )
    _check_record(source, out, made_by)
    kinds = list(dict.fromkeys(kinds))
    kept = [kind for kind in kinds if source.target(out, kind).exists()]
    todo = [kind for kind in kinds if kind not in kept]
    source.prepare(out, todo)
    done, total = 0, len(todo) * len(SEVERITIES) * len(source)
    for kind in todo:
        partial = out / f'.{kind}.partial'
        apply = functools.partial(
            corrupt, kind=kind, seed=seed, settings=settings
        )
        # If `report` raises, this ends the processes at once.
        with closing(source.write(partial, apply, workers)) as counts:
            for count in counts:
                done += count
                if report:
                    report(kind, done, total)
        os.replace(partial, source.target(out, kind))
    return dict(written=todo, kept=kept)
