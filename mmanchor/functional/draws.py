"""Random draws that depend on (seed, rank, iteration) and on nothing else."""

import numpy as np

# One stream for each kind of draw, so that changing one leaves the other.
STREAMS = ('references', 'masks', 'augments', 'crops')


def draw_generator(
    seed: int, rank: int, iteration: int, stream: str
) -> np.random.Generator:
    """The random generator of one kind of draw in one iteration on one rank.

    It never touches global random state, so a resumed run draws what an
    uninterrupted one draws.

    Args:
        seed (int): Seed of the run, at least 0.
        rank (int): Rank of the process, at least 0.
        iteration (int): Number of training batches seen so far, at least 0.
        stream (str): What is drawn: ``'references'``, ``'masks'``,
            ``'augments'`` or ``'crops'``.

    Returns:
        numpy.random.Generator: The same one for the same arguments.

    Example:
        >>> draw_generator(0, 0, 7, 'masks').random() == draw_generator(
        ...     0, 0, 7, 'masks'
        ... ).random()
        True
        >>> draw_generator(0, 0, 7, 'masks').random() == draw_generator(
        ...     0, 0, 7, 'references'
        ... ).random()
        False
    """
    entropy = [seed, rank, iteration, STREAMS.index(stream)]
    return np.random.default_rng(entropy)


def check_seed(seed: int) -> int:
    """Refuse what is no seed.

    Raises:
        TypeError: It is not a non-negative integer.

    Example:
        >>> check_seed(3)
        3
    """
    if not isinstance(seed, int) or isinstance(seed, bool) or seed < 0:
        raise TypeError(
            f'Expected `seed` to be a non-negative integer, but got {seed!r}.'
        )
    return seed
