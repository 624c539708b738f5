"""Checks and memory-maps arrays of images and labels on disk."""

from pathlib import Path

import numpy as np

ADVICE = 'Download or write it again.'


def _open(path: Path) -> np.ndarray:
    try:
        return np.lib.format.open_memmap(path, mode='r')
    except ValueError as error:  # no .npy file, truncated, or with objects
        raise ValueError(
            f"Expected {path} to be a whole .npy file, but got one that can't "
            f'be read: {error}. {ADVICE}'
        ) from error


def open_images(path: str | Path, size: int | None = None) -> np.ndarray:
    """Memory-map the images in a ``.npy`` file.

    Args:
        path (str | Path): The file.
        size (int, optional): The height and width that images must have.
            Defaults to None: any.

    Shape:
        - output: (N, H, W, 3), uint8

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: The file is truncated or empty, or has another dtype or
            shape.
    """
    images = _open(Path(path))
    expected = f'(N, {size}, {size}, 3)' if size else '(N, H, W, 3)'
    fits = (
        images.ndim == 4
        and images.shape[-1] == 3
        and (size is None or images.shape[1:3] == (size, size))
    )
    if images.dtype != np.uint8 or not fits:
        raise ValueError(
            f'Expected {path} to hold images of shape {expected} '
            f'in uint8, but got {images.shape} in '
            f'{images.dtype}. {ADVICE}'
        )
    if images.size == 0:
        raise ValueError(
            f'Expected {path} to hold images, but got none: '
            f'{images.shape}. {ADVICE}'
        )
    return images


def open_labels(
    path: str | Path, num_classes: int | None = None
) -> np.ndarray:
    """Read the labels in a ``.npy`` file; they must be below ``num_classes``.

    Shape:
        - output: (N,), int64

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: The file is truncated, or does not contain labels of these
            classes.
    """
    labels = _open(Path(path))
    if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(
            f'Expected {path} to hold labels of shape (N,) in '
            f'integers, but got {labels.shape} in '
            f'{labels.dtype}. {ADVICE}'
        )
    labels = np.array(labels, np.int64)
    top = num_classes or np.inf
    wrong = labels[(labels < 0) | (labels >= top)]
    if len(wrong):
        raise ValueError(
            f'Expected the labels in {path} to be from 0 to '
            f'{top - 1}, but got {wrong[0]}. {ADVICE}'
        )
    return labels


class MappedImages:
    """Images of a memory-mapped ``.npy`` file, which each process opens anew.

    A copy or pickle contains the file's name instead of images, so that data
    sets are sent to workers quickly. Arguments are those of
    :func:`open_images`.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / 'images.npy'
        ...     np.save(path, np.zeros((4, 8, 8, 3), np.uint8))
        ...     images = MappedImages(path)
        ...     len(images), images[1].shape
        (4, (8, 8, 3))
    """

    def __init__(self, path: str | Path, size: int | None = None):
        self.path, self.size = Path(path), size
        self._images = open_images(path, size)

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, row: int) -> np.ndarray:
        return np.array(self._images[row])

    def mapped(self, rows: range) -> np.ndarray:
        """Get consecutive rows without reading them from disk.

        Shape:
            - output: (len(rows), H, W, 3), uint8
        """
        return self._images[rows.start : rows.stop]

    def __reduce__(self):
        return type(self), (self.path, self.size)
