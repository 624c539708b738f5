"""Whether a test set on disk is still the one that was measured."""

import os
from pathlib import Path

from .spec import Cell


def is_there(cell: Cell) -> bool:
    """Whether the kind of a corrupted set is on disk, as far as one sees."""
    root = Path(cell.dataset.get('data_root', '.')).expanduser()
    return (root / f'{cell.kind}.npy').is_file() or (root / cell.kind).is_dir()


def stamp_of(cell: Cell) -> list[list]:
    """Names, sizes and times of what a cell is read from, at a glance.

    Of folders, what is in them by itself: files in class folders are not
    looked at one by one.

    Returns:
        list[list]: Empty of a set that is not on disk.
    """
    root = cell.dataset.get('data_root')
    if root is None:
        return []
    root = Path(root).expanduser()
    if cell.kind is None:
        paths = [root]
    else:
        names = (
            'labels.npy',
            f'{cell.kind}.npy',
            f'{cell.kind}/{cell.severity}',
        )
        paths = [root / name for name in names]
    inside = [
        sorted(path.iterdir())
        for path in paths
        if path.is_dir() and os.access(path, os.R_OK | os.X_OK)
    ]
    found = []
    for path in [*paths, *sum(inside, [])]:
        if path.exists():
            stat = path.stat()
            size = stat.st_size if path.is_file() else None
            found.append([str(path.relative_to(root)), size, stat.st_mtime_ns])
    return found
