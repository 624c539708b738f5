"""Corrupting many images, in processes of their own."""

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from torchvision.transforms.functional import center_crop, resize

from ..image_folders import open_rgb
from ..mapped_arrays import open_images
from .imagenet_c import corrupt

MOST = 250  # images in a job


def _start_worker() -> None:
    cv2.setNumThreads(0)  # as many processes as cores
    # Ctrl-C reaches all; the first process ends the others
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def run_jobs(
    function: Callable[..., int], jobs: Iterable[tuple], workers: int
) -> Iterator[int]:
    """Call a function with each job's arguments, in any order.

    Args:
        function (Callable): At the top of a module.
        jobs (Iterable[tuple]): Its arguments.
        workers (int): Processes; 1 stays in this one.

    Yields:
        int: What the function returns, as jobs end.
    """
    if workers == 1:
        yield from (function(*job) for job in jobs)
        return
    methods = multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context(
        'fork' if 'fork' in methods else None
    )
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


def jobs_of(count: int, image_bytes: int = 1) -> Iterator[range]:
    """Ranges of images that make up jobs of some megabytes.

    Example:
        >>> list(jobs_of(400))
        [range(0, 250), range(250, 400)]
    """
    size = max(1, min(MOST, 2**23 // image_bytes))
    for start in range(0, count, size):
        yield range(start, min(start + size, count))


def corrupt_rows(
    source: Path,
    target: Path,
    kind: str,
    severity: int,
    rows: range,
    seed: int,
    settings: str,
) -> int:
    """Corrupt rows of an array into another, both on disk.

    Args:
        source (Path): ``.npy`` of (N, H, W, 3).
        target (Path): ``.npy`` of (5·N, H, W, 3), there already.
        kind (str): See :func:`~.imagenet_c.corrupt`.
        severity (int): See there.
        rows (range): Of ``source``, and indices of its images.
        seed (int): See there.
        settings (str): See there.

    Returns:
        int: How many.
    """
    images = open_images(source)
    corrupted = np.lib.format.open_memmap(target, mode='r+')
    start = (severity - 1) * len(images)
    for row in rows:
        corrupted[start + row] = corrupt(
            images[row], kind, severity, seed, row, settings
        )
    corrupted.flush()
    return len(rows)


def read_image(path: Path, size: int | None = None) -> np.ndarray:
    """Read an image as RGB, cut to a square if one is asked for.

    Args:
        path (Path): The file.
        size (int, optional): The shorter side becomes 8/7 of it, of which
            the centre is kept: torchvision's ``Resize(256)`` and
            ``CenterCrop(224)`` for 224, as ImageNet-C has it.

    Shape:
        - output: (H, W, 3), uint8

    Raises:
        ValueError: See :func:`~mmanchor.datasets.image_folders.open_rgb`.
    """
    image = open_rgb(path)
    if size:
        # not our own arithmetic: rounding decides which pixels are cut off
        image = resize(image, round(size * 8 / 7))
        image = center_crop(image, size)
    return np.asarray(image)


def write_image(image: np.ndarray, path: Path) -> None:
    """Write an image, whole or not at all, in the format of its name."""
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
    kind: str,
    severity: int,
    images: Sequence[tuple[int, str]],
    seed: int,
    settings: str,
    size: int | None,
) -> int:
    """Corrupt images of a folder into another; those there are kept.

    Args:
        source (Path): The folder with class folders.
        target (Path): The kind's folder.
        kind (str): See :func:`~.imagenet_c.corrupt`.
        severity (int): See there.
        images (Sequence[tuple]): Index and path within ``source`` of each.
        seed (int): See there.
        settings (str): See there.
        size (int, optional): See :func:`read_image`.

    Returns:
        int: How many.
    """
    for index, name in images:
        path = target / str(severity) / name
        if not path.exists():
            image = read_image(source / name, size)
            corrupted = corrupt(image, kind, severity, seed, index, settings)
            write_image(corrupted, path)
    return len(images)
