"""Whether all processes of a run start from the same, and how they do."""

import hashlib
import pickle
from collections.abc import Callable
from datetime import timedelta

import torch
import torch.distributed as dist
from mmengine.dist import all_gather_object, get_rank, get_world_size

from ..models import AnchoredImageClassifier

PATIENCE = timedelta(days=7)  # drawing from all of a large set takes hours


def from_first_rank(
    read: Callable[[], tuple[torch.Tensor, str]],
) -> tuple[torch.Tensor, str]:
    """Let rank 0 read images, and pass them on to the other ranks.

    The others wait as long as it takes, whatever the timeout of their process
    group is: they wait in a group of their own. If rank 0 dies they learn of
    it at once. What it raises is raised by all.

    Args:
        read (Callable): Returns images and words on them; called by rank 0.

    Returns:
        Tuple[torch.Tensor, str]: What it returned, on all ranks; the images
        are on the CPU on all but rank 0.

    Example:
        >>> from_first_rank(lambda: (torch.zeros(1), 'alone'))[1]
        'alone'
    """
    if get_world_size() == 1:
        return read()
    dist.barrier()  # a rank that never comes is missed after the usual time
    group = dist.new_group(backend='gloo', timeout=PATIENCE)
    images, words, error = torch.empty(0), '', None
    if get_rank() == 0:
        try:
            images, words = read()
        except Exception as raised:  # whatever datasets raise
            error = raised
    said = [(_portable(error), words, images.shape, images.dtype)]
    dist.broadcast_object_list(said, group=group)
    theirs, words, shape, dtype = said[0]
    if theirs is None:
        on_cpu = (
            images.cpu().contiguous()
            if get_rank() == 0
            else torch.empty(shape, dtype=dtype)
        )
        dist.broadcast(on_cpu, 0, group)
        images = images if get_rank() == 0 else on_cpu
    dist.destroy_process_group(group)
    if error is not None or theirs is not None:
        raise error or theirs
    return images, words


def _portable(error: Exception | None) -> Exception | None:
    """The error, or its words where other processes can't have it itself."""
    try:
        copied = pickle.loads(pickle.dumps(error))
    except Exception:  # of a class that only one process has, say
        copied = None
    if str(copied) == str(error):
        return error
    return ValueError(f'{type(error).__name__}: {error}')


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
    check_ranks_agree(parts)


def _digest(part) -> str:
    if isinstance(part, torch.Tensor) and part.dim():
        data = part.detach().cpu().contiguous().numpy().tobytes()
        shape = 'x'.join(map(str, part.shape))
        return f'{shape}, sha256 {hashlib.sha256(data).hexdigest()[:12]}'
    return str(int(part))
