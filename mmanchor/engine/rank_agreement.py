"""Lets all processes of a run start from the same images and state."""

import hashlib
import pickle
from collections.abc import Callable
from datetime import timedelta

import torch
import torch.distributed as dist
from mmengine.dist import all_gather_object, get_rank, get_world_size

# Reading references from all images of a large set takes hours.
READ_TIMEOUT = timedelta(days=7)


def read_on_first_rank(
    read: Callable[[], tuple[torch.Tensor, str]],
) -> tuple[torch.Tensor, str]:
    """Read images on rank 0, and send them to the other ranks.

    The other ranks wait in a process group of their own, whose timeout is
    long enough for any data set. If rank 0 dies, they fail at once. An error
    of rank 0 is raised on all ranks.

    Args:
        read (Callable): A function that returns images and a description of
            them. Only rank 0 calls it.

    Returns:
        Tuple[torch.Tensor, str]: The result of ``read``, on all ranks. On the
        ranks after the first, the images are on the CPU.

    Example:
        >>> read_on_first_rank(lambda: (torch.zeros(1), 'alone'))[1]
        'alone'
    """
    if get_world_size() == 1:
        return read()
    # A rank that never arrives raises here, after the usual timeout.
    dist.barrier()
    group = dist.new_group(backend='gloo', timeout=READ_TIMEOUT)
    images, description, error = torch.empty(0), '', None
    if get_rank() == 0:
        try:
            images, description = read()
        except Exception as raised:  # A dataset may raise anything.
            error = raised
    message = [(_portable(error), description, images.shape, images.dtype)]
    dist.broadcast_object_list(message, group=group)
    error_of_first, description, shape, dtype = message[0]
    if error_of_first is None:
        on_cpu = (
            images.cpu().contiguous()
            if get_rank() == 0
            else torch.empty(shape, dtype=dtype)
        )
        dist.broadcast(on_cpu, 0, group)
        images = images if get_rank() == 0 else on_cpu
    dist.destroy_process_group(group)
    if error is not None or error_of_first is not None:
        raise error or error_of_first
    return images, description


def _portable(error: Exception | None) -> Exception | None:
    """Return an error that can be pickled, with the same message."""
    try:
        copied = pickle.loads(pickle.dumps(error))
    except Exception:  # Its class may exist in this process only.
        copied = None
    if str(copied) == str(error):
        return error
    return ValueError(f'{type(error).__name__}: {error}')


def check_ranks_agree(parts: dict[str, torch.Tensor | int]) -> None:
    """Raise if a rank starts from other values than rank 0.

    All ranks raise the same error, so that none waits for another.

    Args:
        parts (Dict[str, torch.Tensor | int]): The values that have to be the
            same on all ranks, by name. All ranks pass the same names.

    Raises:
        ValueError: A value differs. The message names it and the ranks.

    Example:
        >>> check_ranks_agree(dict(iteration=3))  # one process always agrees
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
            'Expected all ranks to start from the same state, but '
            f'{described}. Give all ranks the same data, the same work dir, '
            'the same checkpoint (`--resume CHECKPOINT`) and the same seed.'
        )


def _digest(part) -> str:
    if isinstance(part, torch.Tensor) and part.dim():
        data = part.detach().cpu().contiguous().numpy().tobytes()
        shape = 'x'.join(map(str, part.shape))
        return f'{shape}, sha256 {hashlib.sha256(data).hexdigest()[:12]}'
    return str(int(part))
