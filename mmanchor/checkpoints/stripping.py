"""Removes training images from a checkpoint."""

import os
from pathlib import Path

import torch

from ..utils.files import whole_files
from .safe_loading import load_local
from .verification import BANK_KEY, RESIDUALS_KEY, check_checkpoint, is_remote


def strip_references(checkpoint: dict) -> dict[str, torch.Tensor]:
    """Remove the reference bank and residuals from a checkpoint, in place.

    They are also removed from the averaged weights of an ``EMAHook``.
    Everything else stays, so that training can be resumed where the training
    set is available.

    Args:
        checkpoint (dict): A checkpoint of MMEngine, or a state dict.

    Returns:
        Dict[str, torch.Tensor]: The removed tensors, by key.

    Example:
        >>> weights = {'reference_bank.images': torch.zeros(1), 'w': 1}
        >>> list(strip_references(weights)), weights
        (['reference_bank.images'], {'w': 1})
    """
    removed = {}
    for name in ('state_dict', 'ema_state_dict'):
        weights = checkpoint.get(name)
        if weights is None and name == 'state_dict':
            weights = checkpoint
        for key in list(weights or {}):
            if key.endswith((BANK_KEY, RESIDUALS_KEY)):
                removed[key if name == 'state_dict' else f'{name}: {key}'] = (
                    weights.pop(key)
                )
    return removed


def strip_checkpoint(
    path: str, out: str, allow_code: bool = False
) -> dict[str, torch.Tensor]:
    """Write a copy of a checkpoint without its references.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The checkpoint is damaged, contains code or has no
            references; or ``out`` is the checkpoint itself.
    """
    if is_remote(path):
        raise ValueError(
            f'Expected a file, but got {path}. Download it first.'
        )
    check_checkpoint(path)
    if os.path.realpath(path) == os.path.realpath(out):
        raise ValueError(
            f'Expected an output that is another file than {path}, but got '
            'the same. Name another, and delete the original once the copy '
            'works.'
        )
    checkpoint = load_local(path, 'cpu', allow_code)
    removed = strip_references(checkpoint)
    if not removed:
        raise ValueError(
            f'Expected a reference bank in {path}, but it has none. Use the '
            'checkpoint as it is: there is nothing to remove.'
        )
    with whole_files(Path(out).parent) as partial:
        torch.save(checkpoint, partial / Path(out).name)
    return removed
