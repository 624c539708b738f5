"""Corrupts an image as ImageNet-C or CIFAR-10-C, reproducibly."""

import inspect
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout

import numpy as np
from PIL import Image

from ..shifts.kinds import (
    ALL_C_KINDS,
    IMAGENET_C,
    check_corruption_kind,
    check_settings,
    check_severity,
)


@contextmanager
def seeded_numpy(words: np.ndarray) -> Iterator[None]:
    """Seed NumPy's global generator, and restore its state afterwards."""
    state = np.random.get_state()
    np.random.seed(words)
    try:
        yield
    finally:
        np.random.set_state(state)


MIN_SIDE = 8  # pixels, because one kind shrinks images to a quarter


def load_library() -> dict:
    """Import the functions of imagecorruptions, by kind.

    Raises:
        ImportError: imagecorruptions-imaug is not installed.
    """
    try:
        from imagecorruptions import corruption_dict
    except ImportError as error:
        raise ImportError(
            'Expected imagecorruptions-imaug, which corrupts images, but it '
            'is not installed. Install it with `pip install '
            '"mmanchor[corruptions]"`.'
        ) from error
    return corruption_dict


def corrupt(
    image: np.ndarray,
    kind: str,
    severity: int,
    seed: int = 0,
    index: int = 0,
    settings: str = IMAGENET_C,
) -> np.ndarray:
    """Corrupt an image.

    The result depends only on the arguments, not on images that were
    corrupted before.

    Args:
        image (np.ndarray): The image in RGB.
        kind (str): One of ``ALL_C_KINDS``.
        severity (int): 1 to 5.
        seed (int): Seed of the data set. Defaults to 0.
        index (int): Index of the image in the data set. Defaults to 0.
        settings (str): The strength of severities: that of ``'imagenet-c'``,
            or of ``'cifar-c'``, which is milder and meant for small images.
            Defaults to ``'imagenet-c'``.

    Shape:
        - image: (H, W, 3), uint8, H and W at least 8
        - output: as ``image``

    Raises:
        ImportError: imagecorruptions-imaug is not installed.
        ValueError: An argument is out of range.

    Example:
        >>> grey = np.full((16, 16, 3), 128, np.uint8)
        >>> corrupt(grey, 'brightness', 1).shape
        (16, 16, 3)

    Source: D. Hendrycks and T. Dietterich, Benchmarking Neural Network
    Robustness to Common Corruptions and Perturbations, ICLR 2019; settings
    are those of ImageNet-C or of CIFAR-10-C, for images of any size.
    """
    check_settings(settings)
    check_corruption_kind(kind, ALL_C_KINDS, 'ImageNet-C')
    check_severity(severity)
    if (
        image.dtype != np.uint8
        or image.ndim != 3
        or image.shape[2] != 3
        or min(image.shape[:2]) < MIN_SIDE
    ):
        raise ValueError(
            f'Expected an image of shape (H, W, 3), H and W at least '
            f'{MIN_SIDE}, in uint8, but got {image.shape} in {image.dtype}. '
            'Change `image`.'
        )
    if min(seed, index) < 0:
        raise ValueError(
            'Expected `seed` and `index` to be at least 0, but '
            f'got {seed} and {index}. Change the negative one.'
        )
    function = load_library()[kind]
    words = np.random.SeedSequence(
        [seed, zlib.crc32(kind.encode()), severity, index]
    ).generate_state(4)
    with np.errstate(all='ignore'):
        if settings == IMAGENET_C:
            found = _corrupt_as_imagenet_c(function, image, severity, words)
        else:
            # This module needs SciPy, which comes with the library.
            from .cifar_c import corrupt_as_cifar_c

            rng = np.random.default_rng(words)
            found = corrupt_as_cifar_c(image, kind, severity, rng)
    return np.clip(found, 0, 255).astype(np.uint8)


def _corrupt_as_imagenet_c(function, image, severity, words) -> np.ndarray:
    seeded = {}  # some functions have a generator of their own
    if 'seed' in inspect.signature(function).parameters:
        seeded['seed'] = int(words[0])
    with seeded_numpy(words), redirect_stdout(io.StringIO()):
        found = np.asarray(
            function(Image.fromarray(image), severity, **seeded)
        )
    # `spatter` divides by 0 if no drop falls on a small image.
    return np.where(np.isfinite(found), found, image)
