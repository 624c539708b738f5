"""Saves what is fitted to a checkpoint, such as a temperature, beside it."""

import json
from pathlib import Path

from ..utils.files import whole_files


def fit_path(checkpoint: str | Path, kind: str) -> Path:
    """Return the path of the fits of one kind that belong to a checkpoint.

    Example:
        >>> fit_path('epoch_6.pth', 'threshold').name
        'epoch_6.threshold.json'
    """
    return Path(checkpoint).with_suffix(f'.{kind}.json')


def read_fits(checkpoint: str | Path, sha256: str, kind: str) -> dict:
    """Read all fits of one kind that belong to a checkpoint.

    Returns:
        dict: The fits, by how references are used. It is empty if there are
        none, or if they belong to another checkpoint.
    """
    path = fit_path(checkpoint, kind)
    try:
        saved = json.loads(path.read_text(encoding='utf-8'))
    except (OSError, ValueError):
        return {}
    if not isinstance(saved, dict) or saved.pop('sha256', None) != sha256:
        return {}
    return saved


def save_fit(
    checkpoint: str | Path, sha256: str, kind: str, how: str, fit: dict
) -> Path:
    """Save a fit beside a checkpoint; fits for other references stay.

    Args:
        checkpoint (str | Path): The checkpoint. Fits of another checkpoint of
            the same name are dropped.
    """
    path = fit_path(checkpoint, kind)
    saved = {'sha256': sha256, **read_fits(checkpoint, sha256, kind), how: fit}
    with whole_files(path.parent) as partial:
        (partial / path.name).write_text(
            json.dumps(saved, indent=1, ensure_ascii=False) + '\n',
            encoding='utf-8',
        )
    return path
