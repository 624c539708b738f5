"""Random draws that only depend on (seed, rank, iteration)."""

import numpy as np
import torch

# Each kind of draw has its own stream, so that one never changes the other.
STREAMS = ('references', 'masks', 'augments', 'crops')


def draw_generator(
    seed: int, rank: int, iteration: int, stream: str
) -> np.random.Generator:
    """Create the generator of a kind of draw, in one iteration on one rank.

    It does not use global random state, so a resumed run draws the same as an
    uninterrupted one.

    Args:
        seed (int): Seed of the run, at least 0.
        rank (int): Rank of the process, at least 0.
        iteration (int): Number of training batches seen so far, at least 0.
        stream (str): The kind of draw: ``'references'``, ``'masks'``,
            ``'augments'`` or ``'crops'``.

    Returns:
        numpy.random.Generator: Equal arguments give equal numbers.

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


def draw_partners(
    batch_size: int, generator: np.random.Generator
) -> torch.Tensor:
    """Draw for each image of a batch another image of it, with replacement.

    Every other image is equally likely. No image is its own partner, since
    its residual would be zero. (The authors' released code allows that.)

    Args:
        batch_size (int): B, at least 2.
        generator (numpy.random.Generator): Source of random numbers.

    Shape:
        - output: (B,), int64 indices into the batch

    Raises:
        ValueError: The batch has fewer than two images.

    Example:
        >>> partners = draw_partners(4, np.random.default_rng(0))
        >>> bool((partners != torch.arange(4)).all())
        True
    """
    if batch_size < 2:
        raise ValueError(
            'Expected at least 2 images in a batch to draw references from '
            f'it, but got {batch_size}. Use a larger `batch_size`, or '
            "`references=dict(type='ReferenceSet', ...)`."
        )
    steps = generator.integers(1, batch_size, batch_size)
    return torch.from_numpy((np.arange(batch_size) + steps) % batch_size)


def check_seed(seed: int) -> int:
    """Return a valid seed, and raise otherwise.

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
