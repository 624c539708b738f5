"""Whether all processes of a run start from the same."""

import hashlib

import torch
from mmengine.dist import all_gather_object, get_world_size

from ..models import AnchoredImageClassifier


def check_ranks_agree(parts: dict[str, torch.Tensor | int]) -> None:
    """Refuse to start where a rank has something else than rank 0.

    All ranks get the same error, so that none waits for another.

    Args:
        parts (Dict[str, torch.Tensor | int]): What has to be the same, by
            name; all ranks name the same.

    Raises:
        ValueError: Something differs: what, and on which ranks.

    Example:
        >>> check_ranks_agree(dict(iteration=3))  # alone, it always agrees
    """
    if get_world_size() == 1:
        return
    mine = {name: _digest(part) for name, part in parts.items()}
    first, *others = all_gather_object(mine)
    differing = {}
    for rank, theirs in enumerate(others, 1):
        for name in first:
            if theirs[name] != first[name]:
                differing.setdefault(name, []).append(rank)
    if differing:
        described = '; '.join(
            f'{name} of rank {", ".join(map(str, ranks))} ('
            f'{others[ranks[0] - 1][name]}) differs from that of rank 0 '
            f'({first[name]})'
            for name, ranks in differing.items()
        )
        raise ValueError(
            f'Expected all ranks to start from the same, but {described}. '
            'Let all see the same data and the same work dir, start from one '
            'checkpoint (`--resume CHECKPOINT`), and give all one seed.'
        )


def check_start(epoch: int, model: AnchoredImageClassifier) -> None:
    """Refuse ranks that don't train the same model on.

    Args:
        epoch (int): The next one.
        model (AnchoredImageClassifier): Before it trains.

    Raises:
        ValueError: See :func:`check_ranks_agree`.
    """
    bank, preprocessor = model.reference_bank, model.data_preprocessor
    parts = {
        'the epoch': epoch,
        'the iteration counter': preprocessor.iteration,
        'the reference bank': bank.images,
        'the residual pairs': bank.residual_pairs,
    }
    if preprocessor.reference_set is not None:
        parts['the reference set'] = preprocessor.reference_set.images
    check_ranks_agree(parts)


def _digest(part) -> str:
    if isinstance(part, torch.Tensor) and part.dim():
        data = part.detach().cpu().contiguous().numpy().tobytes()
        shape = 'x'.join(map(str, part.shape))
        return f'{shape}, sha256 {hashlib.sha256(data).hexdigest()[:12]}'
    return str(int(part))
