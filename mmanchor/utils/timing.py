"""Clocks, memory and operations of a piece of work."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

CLOCKS = {
    'cpu': 'time.perf_counter',
    'cuda': 'torch.cuda.Event, with the device idle before the first',
}
MEMORY = {
    'cpu': "highest running sum of the allocator's events in one run, by "
    'torch.profiler, plus what model, references and optimizer hold before '
    'it; what libraries such as oneDNN allocate by themselves is not in it',
    'cuda': 'torch.cuda.max_memory_allocated in one run, less what was '
    'allocated before, plus what model, references and optimizer hold '
    'before it',
}


def seconds(
    work: Callable[[], Any], device: torch.device, repeats: int = 1
) -> float:
    """Time a piece of work, to the end of what it sends to the device.

    Args:
        work (Callable): Without arguments.
        device (torch.device): Where it runs.
        repeats (int): How often to run it, one after the other; the mean is
            returned. Defaults to 1.
    """
    if device.type != 'cuda':
        start = time.perf_counter()
        for _ in range(repeats):
            work()
        return (time.perf_counter() - start) / repeats
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize(device)
    start.record()
    for _ in range(repeats):
        work()
    end.record()
    torch.cuda.synchronize(device)
    return start.elapsed_time(end) / 1000 / repeats


def peak_bytes(work: Callable[[], Any], device: torch.device) -> int:
    """Memory that a piece of work takes at most, over what is there before.

    Args:
        work (Callable): Without arguments; what it returns is let go of.
        device (torch.device): Where it runs.
    """
    if device.type == 'cuda':
        torch.cuda.synchronize(device)
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        work()
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device) - before
    with profile(
        activities=[ProfilerActivity.CPU], profile_memory=True
    ) as profiler:
        work()
    peak = held = 0
    recorded: Any = profiler.profiler  # PyTorch's types leave it open
    for event in recorded.kineto_results.events():
        if event.name() == '[memory]':
            held += event.nbytes()
            peak = max(peak, held)
    return peak


def held_bytes(*owners: Any) -> int:
    """Bytes of the tensors that models, optimizers and collections hold.

    Looked for in whatever a module has, so that references and what is kept
    of them count, not only parameters and buffers. A tensor that several hold
    counts once.
    """
    storages = {}
    for tensor in _tensors(owners, set()):
        storage = tensor.untyped_storage()
        storages[storage.data_ptr()] = storage.nbytes()
    return sum(storages.values())


def _tensors(owner: Any, seen: set) -> Iterator[torch.Tensor]:
    if id(owner) in seen:
        return
    seen.add(id(owner))
    if isinstance(owner, torch.Tensor):
        yield owner
        return
    if isinstance(owner, torch.optim.Optimizer):
        parts = owner.state.values()
    elif isinstance(owner, dict):
        parts = owner.values()
    elif isinstance(owner, (list, tuple)):
        parts = owner
    elif isinstance(owner, nn.Module) or type(owner).__module__.startswith(
        'mmanchor.models'
    ):
        parts = vars(owner).values()
    else:
        return
    for part in list(parts):
        yield from _tensors(part, seen)


def operations(work: Callable[[], Any]) -> int:
    """Operations of convolutions, matrix products and attention.

    Args:
        work (Callable): Without arguments; forward and backward passes count.
    """
    with FlopCounterMode(display=False) as counter:
        work()
    return counter.get_total_flops()


@contextmanager
def full_precision():
    """Float32 products as such on a GPU, so that answers can be compared."""
    backends: tuple[Any, ...] = (
        torch.backends.cudnn,
        torch.backends.cuda.matmul,
    )
    before = [backend.allow_tf32 for backend in backends]
    for backend in backends:
        backend.allow_tf32 = False
    try:
        yield
    finally:
        for backend, allowed in zip(backends, before):
            backend.allow_tf32 = allowed
