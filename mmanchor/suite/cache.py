"""Stores results on disk as they come, so that a stopped run can resume."""

import hashlib
import json
import re
import zipfile
import zlib
from pathlib import Path

import numpy as np

from ..utils.files import whole_files

_ARRAYS = 'names of arrays'  # key of the arrays that belong to a result
STAMP = 'stamp'  # key of what identifies the files that were measured
# what reading damaged files raises
DAMAGED = (OSError, EOFError, ValueError, AttributeError, TypeError)
DAMAGED += (zipfile.BadZipFile, zlib.error)


class CannotSave(OSError):
    """Results can't be written, so there is no use in measuring more."""


class ResultStore:
    """Stores each result in a file named after everything it depends on.

    Only the ``stamp`` of the test set's files is not in the name. A result
    with another stamp is measured again and replaced, but if there is no
    stamp, because the files are gone, what was measured on them counts.
    """

    def __init__(self, folder: Path):
        self.folder = Path(folder)

    def _path(self, name: str, depends_on: dict) -> Path:
        named = {key: depends_on[key] for key in depends_on if key != STAMP}
        text = json.dumps(named, sort_keys=True, default=repr)
        digest = hashlib.sha256(text.encode()).hexdigest()[:16]
        words = re.sub(r'\W+', '-', name).strip('-').lower()[:99]
        return self.folder / f'{words}_{digest}.json'

    def get(
        self, name: str, depends_on: dict
    ) -> tuple[dict, dict[str, np.ndarray]] | None:
        """Read a result and its arrays, given everything it depends on.

        It is None if the result is missing or its file is damaged, so that it
        is measured again.
        """
        path = self._path(name, depends_on)
        if not path.exists():
            return None
        arrays = {}
        try:
            result = json.loads(path.read_text(encoding='utf-8'))
            # results of older versions do not list their arrays
            names = result.pop(_ARRAYS, None)
            stamp = result.pop(STAMP, None)
            if depends_on.get(STAMP) and stamp != depends_on[STAMP]:
                return None
            if names or names is None and path.with_suffix('.npz').exists():
                with np.load(path.with_suffix('.npz')) as file:
                    arrays = dict(file)
        except DAMAGED:
            return None
        if not result or not set(names or ()) <= set(arrays):
            return None
        return result, arrays

    def save(
        self,
        name: str,
        depends_on: dict,
        result: dict,
        arrays: dict[str, np.ndarray] | None = None,
    ) -> None:
        """Save a result and its arrays, completely or not at all.

        Args:
            name (str): What the file's name begins with.
            depends_on (dict): Everything that the result depends on.
            result (dict): What JSON can hold.
            arrays (Dict[str, np.ndarray], optional): Arrays by name. Defaults
                to None.

        Raises:
            CannotSave: The disk is full, or can't be written to.
        """
        path = self._path(name, depends_on)
        try:
            # The arrays come first: a result with its JSON file is complete.
            # An older one must not get the new arrays.
            if path.exists():
                path.unlink()
            if arrays:
                with whole_files(self.folder) as partial:
                    np.savez(partial / path.with_suffix('.npz').name, **arrays)
            with whole_files(self.folder) as partial:
                content = {
                    **result,
                    STAMP: depends_on.get(STAMP),
                    _ARRAYS: sorted(arrays or {}),
                }
                (partial / path.name).write_text(
                    json.dumps(content), encoding='utf-8'
                )
        except (OSError, ValueError) as error:
            why = getattr(error, 'strerror', None) or error
            raise CannotSave(
                f'Expected room for results in {self.folder}, but got: {why}. '
                'Make room, and run the same command again: no finished '
                'measurement is repeated.'
            ) from error
