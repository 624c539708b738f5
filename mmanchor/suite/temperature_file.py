"""Fitted temperatures, beside the checkpoint they belong to."""

import json
from pathlib import Path

from ..utils.files import whole_files
from .candidates import Candidate
from .ensembles import EnsembleCandidate


def save_temperature(candidate: Candidate, found: dict) -> Path | None:
    """Write a temperature, beside those for other uses of references.

    Args:
        candidate (Candidate): Whose it is. What was fitted for another
            checkpoint of the same name is dropped.
        found (dict): ``temperature``, and what it was fitted on.

    Returns:
        Path | None: The file; None where the folder can't be written to, and
        for an ensemble, which has no checkpoint of its own.
    """
    if isinstance(candidate, EnsembleCandidate):
        return None
    path = Path(candidate.checkpoint).with_suffix('.temperature.json')
    how = candidate.how or 'plain'
    try:
        saved = json.loads(path.read_text(encoding='utf-8'))
    except (OSError, ValueError):
        saved = {}
    if not isinstance(saved, dict) or saved.get('sha256') != candidate.sha256:
        saved = dict(sha256=candidate.sha256)
    if saved.get(how) == found:
        return path
    saved[how] = found
    try:
        with whole_files(path.parent) as partial:
            (partial / path.name).write_text(
                json.dumps(saved, indent=1, ensure_ascii=False) + '\n',
                encoding='utf-8',
            )
    except (OSError, ValueError):
        return None  # it is in the results as well
    return path
