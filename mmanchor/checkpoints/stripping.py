"""Taking training images out of a checkpoint."""

import os
from pathlib import Path

import torch

from ..utils.files import whole_files
from .safe_loading import load_local
from .verification import BANK_KEY, RESIDUALS_KEY, check_checkpoint, is_remote


def strip_references(checkpoint: dict) -> dict[str, torch.Tensor]:
    """Take reference bank and residuals out of a checkpoint, in place.

    The averaged weights of an ``EMAHook`` lose theirs, too. All else stays,
    so that training can be resumed where the training set is at hand.

    Args:
        checkpoint (dict): As MMEngine saves it, or a state dict.

    Returns:
        Dict[str, torch.Tensor]: What was taken out, by key.

    Example:
        >>> weights = {'reference_bank.images': torch.zeros(1), 'w': 1}
        >>> list(strip_references(weights)), weights
        (['reference_bank.images'], {'w': 1})
    """
    taken = {}
    for name in ('state_dict', 'ema_state_dict'):
        weights = checkpoint.get(name)
        if weights is None and name == 'state_dict':
            weights = checkpoint
        for key in list(weights or {}):
            if key.endswith((BANK_KEY, RESIDUALS_KEY)):
                taken[key if name == 'state_dict' else f'{name}: {key}'] = (
                    weights.pop(key)
                )
    return taken


def strip_file(
    path: str, out: str, allow_code: bool = False
) -> dict[str, torch.Tensor]:
    """Write a checkpoint without references.

    Args:
        path (str): The checkpoint, which stays as it is.
        out (str): Where to write.
        allow_code (bool): Run the code that the checkpoint holds, if any.
            Defaults to False.

    Returns:
        Dict[str, torch.Tensor]: See :func:`strip_references`.

    Raises:
        FileNotFoundError: There is no such checkpoint.
        ValueError: It is damaged, holds code, or has no references; or
            ``out`` is the checkpoint itself.
    """
    if is_remote(path):
        raise ValueError(f'Expected a file, but got {path}. Download it.')
    check_checkpoint(path)
    if os.path.realpath(path) == os.path.realpath(out):
        raise ValueError(
            f'Expected another file than {path} to write to. '
            'Name one, and delete the original when it is good.'
        )
    checkpoint = load_local(path, 'cpu', allow_code)
    taken = strip_references(checkpoint)
    if not taken:
        raise ValueError(
            f'Expected a reference bank in {path}, but there is none: '
            'nothing to take out.'
        )
    with whole_files(Path(out).parent) as partial:
        torch.save(checkpoint, partial / Path(out).name)
    return taken
