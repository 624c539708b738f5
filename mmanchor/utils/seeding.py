"""Seeds random generators for each image, step and epoch."""

import hashlib
import random
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice

import numpy as np
import torch

# Each kind of work has its own stream of random numbers.
LOADING, STEP, EPOCH = range(3)


def seed_generators(*entropy: int) -> None:
    """Seed Python, NumPy and PyTorch, on all devices in use.

    Example:
        >>> seed_generators(0, 1)
        >>> drawn = random.random(), np.random.rand(), torch.rand(1)
        >>> seed_generators(0, 1)
        >>> drawn == (random.random(), np.random.rand(), torch.rand(1))
        True
    """
    # This runs for every image, so it has to be fast: a hash takes a tenth of
    # the time of NumPy's `SeedSequence`.
    digest = hashlib.blake2b(repr(entropy).encode(), digest_size=20).digest()
    random.seed(int.from_bytes(digest[:8], 'little'))
    np.random.seed(int.from_bytes(digest[8:12], 'little'))
    seed = int.from_bytes(digest[12:], 'little')
    # `torch.manual_seed` is slow if CUDA is not initialised, because it stores
    # a stack trace.
    torch.default_generator.manual_seed(seed)
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(seed)


@contextmanager
def seeded_generators(*entropy: int) -> Iterator[None]:
    """Seed as :func:`seed_generators`, and restore all states afterwards.

    Example:
        >>> before = random.getstate(), torch.get_rng_state()
        >>> with seeded_generators(0, 1):
        ...     drawn = random.random(), torch.rand(1)
        >>> before[0] == random.getstate()
        True
        >>> bool((before[1] == torch.get_rng_state()).all())
        True
    """
    devices: Iterable[int] = ()
    if torch.cuda.is_initialized():
        devices = range(torch.cuda.device_count())
    states = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices=devices):
            seed_generators(*entropy)
            yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])


class SeededIndices(list):
    """Indices of a batch that seed the generators before each index.

    A process that iterates over them is seeded before it loads each image.
    So an image does not depend on what a data-loading worker did before, nor
    on the number of workers.

    Args:
        entropy (Tuple[int, ...]): See :func:`seed_generators`. The position
            in the batch is appended.
    """

    def __init__(self, indices: Iterable[int], entropy: tuple[int, ...]):
        super().__init__(indices)
        self.entropy = entropy

    def __iter__(self) -> Iterator[int]:
        for place in range(len(self)):
            seed_generators(*self.entropy, place)
            yield self[place]

    def __reduce__(self):  # The default would iterate, which seeds.
        return SeededIndices, (self[:], self.entropy)


class SeededBatches:
    """A batch sampler whose batches are :class:`SeededIndices`."""

    def __init__(self, batches):
        self.batches = batches
        self._entropy: tuple[int, ...] = ()
        self._number = self._skipped = 0

    def begin(self, entropy: tuple[int, ...], number: int, skip: int) -> None:
        """Set the seed of the next batches.

        Args:
            entropy (Tuple[int, ...]): See :func:`seed_generators`. The number
                of the batch is appended.
            number (int): The number of the next batch.
            skip (int): Number of batches to skip in the next iteration.
        """
        self._entropy, self._number, self._skipped = entropy, number, skip

    def __iter__(self) -> Iterator[SeededIndices]:
        skipped, self._skipped = self._skipped, 0
        for indices in islice(self.batches, skipped, None):
            self._number += 1
            yield SeededIndices(indices, (*self._entropy, self._number - 1))

    def __len__(self) -> int:
        return len(self.batches)

    def __getattr__(self, name):
        if name == 'batches':  # It is missing while an object is copied.
            raise AttributeError(name)
        return getattr(self.batches, name)
