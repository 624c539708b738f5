"""What was fitted for a checkpoint on held-out images, in a file beside it."""

import json
from pathlib import Path

from ..utils.files import whole_files


def fit_path(checkpoint: str | Path, kind: str) -> Path:
    """Where the fits of one kind of a checkpoint are.

    Args:
        checkpoint (str | Path): The checkpoint.
        kind (str): What was fitted.

    Example:
        >>> fit_path('epoch_6.pth', 'threshold').name
        'epoch_6.threshold.json'
    """
    return Path(checkpoint).with_suffix(f'.{kind}.json')


def read_fits(checkpoint: str | Path, sha256: str, kind: str) -> dict:
    """All fits of one kind of a checkpoint, by how references are used.

    Args:
        checkpoint (str | Path): The checkpoint.
        sha256 (str): Of the checkpoint.
        kind (str): What was fitted.

    Returns:
        dict: Empty where there are none, or they are of another checkpoint.
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
    """Write a fit beside a checkpoint, and beside those for other references.

    Args:
        checkpoint (str | Path): What it was fitted for. Fits of another
            checkpoint of the same name are dropped.
        sha256 (str): Of the checkpoint.
        kind (str): What was fitted.
        how (str): How references are used.
        fit (dict): What was found.

    Returns:
        Path: The file.

    Raises:
        ValueError: The folder can't be written to.
    """
    path = fit_path(checkpoint, kind)
    saved = {
        'sha256': sha256,
        **read_fits(checkpoint, sha256, kind),
        how: fit,
    }
    with whole_files(path.parent) as partial:
        (partial / path.name).write_text(
            json.dumps(saved, indent=1, ensure_ascii=False) + '\n',
            encoding='utf-8',
        )
    return path
