"""NumPy's global generator, for libraries that draw from it."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np


@contextmanager
def seeded_numpy(words: np.ndarray) -> Iterator[None]:
    """Seed NumPy's global generator, and restore its state afterwards.

    Args:
        words (np.ndarray): Integers from 0 to 2**32 - 1.

    Example:
        >>> with seeded_numpy(np.array([1, 2])):
        ...     one = np.random.rand()
        >>> with seeded_numpy(np.array([1, 2])):
        ...     one == np.random.rand()
        True
    """
    state = np.random.get_state()
    np.random.seed(words)
    try:
        yield
    finally:
        np.random.set_state(state)
