"""What a suite has measured so far, on disk, so that it can go on."""

import hashlib
import json
import re
import zipfile
import zlib
from pathlib import Path

import numpy as np

from ..utils.files import whole_files

_ARRAYS = 'names of arrays'  # that belong to a result


class CannotKeep(OSError):
    """What was measured can't be written: there is no use in going on."""


class Parts:
    """Results by what they depend on, each in a file of its own.

    Args:
        folder (Path): Where they are; made when the first is kept.
    """

    def __init__(self, folder: Path):
        self.folder = Path(folder)

    def _path(self, name: str, settings: dict) -> Path:
        text = json.dumps(settings, sort_keys=True, default=repr)
        digest = hashlib.sha256(text.encode()).hexdigest()[:16]
        words = re.sub(r'\W+', '-', name).strip('-').lower()[:99]
        return self.folder / f'{words}_{digest}.json'

    def get(
        self, name: str, settings: dict
    ) -> tuple[dict, dict[str, np.ndarray]] | None:
        """What was kept for these settings: a result and arrays, or None.

        What is damaged is measured again, as if it were not there.
        """
        path = self._path(name, settings)
        if not path.exists():
            return None
        arrays = {}
        try:
            result = json.loads(path.read_text(encoding='utf-8'))
            # those of before did not say which arrays they have
            names = result.pop(_ARRAYS, None)
            if names or names is None and path.with_suffix('.npz').exists():
                with np.load(path.with_suffix('.npz')) as file:
                    arrays = dict(file)
        except (
            OSError,
            EOFError,
            ValueError,
            AttributeError,
            TypeError,
            zipfile.BadZipFile,
            zlib.error,
        ):
            return None
        if not result or not set(names or ()) <= set(arrays):
            return None
        return result, arrays

    def keep(
        self,
        name: str,
        settings: dict,
        result: dict,
        arrays: dict[str, np.ndarray] | None = None,
    ) -> None:
        """Keep a result, and arrays with it, whole or not at all.

        Raises:
            CannotKeep: The disk is full, or can't be written to.
        """
        path = self._path(name, settings)
        try:
            if arrays:  # first: what has a .json is whole
                with whole_files(self.folder) as partial:
                    np.savez(partial / path.with_suffix('.npz').name, **arrays)
            with whole_files(self.folder) as partial:
                (partial / path.name).write_text(
                    json.dumps({**result, _ARRAYS: sorted(arrays or {})}),
                    encoding='utf-8',
                )
        except (OSError, ValueError) as error:
            why = getattr(error, 'strerror', None) or error
            raise CannotKeep(
                f'Expected room for results in {self.folder}, but got: {why}. '
                'Make room, and run the same command again: what was measured '
                'is kept.'
            ) from error
