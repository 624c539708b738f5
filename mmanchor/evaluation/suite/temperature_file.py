"""Fitted temperatures, beside the checkpoint they belong to."""
import json
from pathlib import Path
from typing import Optional

from ...engine.whole_files import whole_files


def save_temperature(checkpoint: str, sha256: str, how: Optional[str],
                     found: dict) -> Optional[Path]:
    """Write a temperature, beside those for other uses of references.

    Args:
        checkpoint (str): The file.
        sha256 (str): Of it; what was fitted for another is dropped.
        how (str, optional): How references are used, as ``'K = 10'``; None
            of a plain model, which is called ``'plain'``.
        found (dict): ``temperature``, and what it was fitted on.

    Returns:
        Path | None: The file; None where the folder can't be written to.
    """
    path = Path(checkpoint).with_suffix('.temperature.json')
    try:
        saved = json.loads(path.read_text())
    except (OSError, ValueError):
        saved = {}
    if saved.get('sha256') != sha256:
        saved = dict(sha256=sha256)
    if saved.get(how or 'plain') == found:
        return path
    saved[how or 'plain'] = found
    try:
        with whole_files(path.parent) as partial:
            (partial / path.name).write_text(
                json.dumps(saved, indent=1, ensure_ascii=False) + '\n')
    except (OSError, ValueError):
        return None  # it is in the results as well
    return path
