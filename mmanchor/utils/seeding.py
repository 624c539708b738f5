"""Random state as a function of what is being done, not of what was before."""

import hashlib
import random
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice

import numpy as np
import torch

# one stream for each kind of work, so that none repeats another
LOADING, STEP, EPOCH = range(3)


def seed_generators(*entropy: int) -> None:
    """Seed Python, NumPy and PyTorch, on all devices in use.

    Args:
        *entropy (int): What the seeds are made from.

    Example:
        >>> seed_generators(0, 1)
        >>> drawn = random.random(), np.random.rand(), torch.rand(1)
        >>> seed_generators(0, 1)
        >>> drawn == (random.random(), np.random.rand(), torch.rand(1))
        True
    """
    # a hash takes a tenth of NumPy's `SeedSequence`: this is done per image
    digest = hashlib.blake2b(repr(entropy).encode(), digest_size=20).digest()
    random.seed(int.from_bytes(digest[:8], 'little'))
    np.random.seed(int.from_bytes(digest[8:12], 'little'))
    seed = int.from_bytes(digest[12:], 'little')
    # `torch.manual_seed` walks through the stack where CUDA isn't in use
    torch.default_generator.manual_seed(seed)
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(seed)


@contextmanager
def seeded_generators(*entropy: int) -> Iterator[None]:
    """Seed as :func:`seed_generators`, and restore all states afterwards.

    Args:
        *entropy (int): What the seeds are made from.

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
    """The images of a batch: reading on seeds whoever reads.

    It travels to data-loading workers as it is, so that what a worker did
    before makes no difference, nor how many there are.

    Args:
        indices (Iterable[int]): Of the images in the dataset.
        entropy (Tuple[int, ...]): See :func:`seed_generators`; the place in
            the batch is added.
    """

    def __init__(self, indices: Iterable[int], entropy: tuple[int, ...]):
        super().__init__(indices)
        self.entropy = entropy

    def __iter__(self) -> Iterator[int]:
        for place in range(len(self)):
            seed_generators(*self.entropy, place)
            yield self[place]

    def __reduce__(self):  # pickling would read, hence seed
        return SeededIndices, (self[:], self.entropy)


class SeededBatches:
    """A batch sampler whose batches are :class:`SeededIndices`.

    Args:
        batches (Iterable): The batch sampler of a data loader.
    """

    def __init__(self, batches):
        self.batches = batches
        self._entropy: tuple[int, ...] = ()
        self._number = self._skipped = 0

    def begin(self, entropy: tuple[int, ...], number: int, skip: int) -> None:
        """Say what the next batches are seeded from.

        Args:
            entropy (Tuple[int, ...]): To which the number of the batch is
                added.
            number (int): That of the next batch.
            skip (int): Batches to leave out the next time they are read.
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
        if name == 'batches':  # while it is copied
            raise AttributeError(name)
        return getattr(self.batches, name)
