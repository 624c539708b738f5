"""Measures the time, memory and operations of a call.

The scripts in this folder import it. It imports nothing of mmanchor, because
``step_overhead.py`` runs it beside the code of another checkout.
"""

import random
import statistics
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile
from torch.utils.benchmark import timer
from torch.utils.flop_counter import FlopCounterMode

CLOCK = {
    'cpu': 'torch.utils.benchmark.timer',
    'cuda': 'torch.cuda.Event, recorded while the GPU is idle and at the end',
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
    call: Callable[[], Any], device: torch.device, repeats: int = 1
) -> float:
    """Return the mean time of a call, until the device has finished its work.

    Args:
        call (Callable): A function without arguments.
        device (torch.device): The device that it runs on. A GPU measures the
            time itself, by events.
        repeats (int): How often to call it. Defaults to 1.
    """
    if device.type != 'cuda':
        start = timer()
        for _ in range(repeats):
            call()
        return (timer() - start) / repeats
    first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize(device)
    first.record()
    for _ in range(repeats):
        call()
    last.record()
    torch.cuda.synchronize(device)
    return first.elapsed_time(last) / 1000 / repeats


def shuffled_rounds(
    names: Iterable[str], rounds: int, seed: int = 0
) -> Iterator[tuple[int, str]]:
    """Yield all names in each round, in a new random order.

    Whatever else the machine does then disturbs all of them alike.

    Args:
        names (Iterable[str]): What to measure.
        rounds (int): Number of rounds.
        seed (int): Seed of the orders. Defaults to 0.

    Yields:
        Tuple[int, str]: The index of the round, and a name.
    """
    generator = random.Random(seed)
    for index in range(rounds):
        order = list(names)
        generator.shuffle(order)
        for name in order:
            yield index, name


def quartiles(values: Iterable[float]) -> dict[str, float]:
    """Return the median and the quartiles ``low`` and ``high``."""
    values = list(values)
    if len(values) == 1:
        values = values * 2
    low, median, high = statistics.quantiles(values, n=4, method='inclusive')
    return dict(median=median, low=low, high=high)


def peak_bytes(call: Callable[[], Any], device: torch.device) -> int:
    """Return the most memory that a call allocates at any time.

    Args:
        call (Callable): A function without arguments.
        device (torch.device): The device that it runs on.
    """
    if device.type == 'cuda':
        torch.cuda.synchronize(device)
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        call()
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device) - before
    with profile(
        activities=[ProfilerActivity.CPU], profile_memory=True
    ) as profiler:
        call()
    peak = allocated = 0
    recorded: Any = profiler.profiler  # PyTorch does not declare its type.
    for event in recorded.kineto_results.events():
        if event.name() == '[memory]':
            allocated += event.nbytes()
            peak = max(peak, allocated)
    return peak


def held_bytes(*owners: Any) -> int:
    """Return the size of all tensors that models and optimizers hold.

    All attributes of a module are searched, so that references and cached
    results count as parameters and buffers do. A tensor that several owners
    share counts once.

    Args:
        *owners (Any): Modules, optimizers, tensors and collections of them.
    """
    storages = {}
    for tensor in _find_tensors(owners, set()):
        storage = tensor.untyped_storage()
        storages[storage.data_ptr()] = storage.nbytes()
    return sum(storages.values())


def _find_tensors(owner: Any, visited: set) -> Iterator[torch.Tensor]:
    if id(owner) in visited:
        return
    visited.add(id(owner))
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
        yield from _find_tensors(part, visited)


def operations(call: Callable[[], Any]) -> int:
    """Count the FLOPs of convolutions, matrix products and attention.

    Args:
        call (Callable): A function without arguments. Its forward and
            backward passes count.
    """
    with FlopCounterMode(display=False) as counter:
        call()
    return counter.get_total_flops()


@contextmanager
def full_precision():
    """Compute in float32 without TF32, so that results can be compared."""
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
