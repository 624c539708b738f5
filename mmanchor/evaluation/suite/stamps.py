"""Whether a test set on disk is still the one that was measured."""
from pathlib import Path
from typing import List

from .sets import Cell


def stamp_of(cell: Cell) -> List[list]:
    """Names, sizes and times of what a cell is read from, at a glance.

    Files in class folders are not looked at one by one.

    Returns:
        list[list]: Empty of a set that is not on disk.
    """
    root = cell.dataset.get('data_root')
    if root is None:
        return []
    root = Path(root).expanduser()
    names = ['.'] if cell.kind is None else [
        'labels.npy', f'{cell.kind}.npy', f'{cell.kind}/{cell.severity}'
    ]
    found = []
    for name in names:
        path = root / name
        if path.is_file():
            stat = path.stat()
            found.append([name, stat.st_size, stat.st_mtime_ns])
        elif path.is_dir():
            found.append([name, path.stat().st_mtime_ns])
    return found
