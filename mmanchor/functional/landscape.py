"""Directions along which weights move in plots of the loss landscape."""

import hashlib
from collections.abc import Sequence

import torch

from .draws import check_seed

Weights = dict[str, torch.Tensor]


def random_direction(
    weights: Weights,
    seed: int,
    normalise: bool = True,
    widened: Sequence[str] | None = None,
) -> Weights:
    """Draw a random direction for weights, scaled to their norms.

    The draw for a weight depends only on the seed, its name and its shape, so
    that models with a layer in common use the same draw for it.

    With ``normalise``, each filter (a row of the first axis) of the direction
    has the norm of the weights' filter, so that networks whose filters differ
    in scale can be compared. Otherwise the whole direction is scaled to the
    norm of all filters. Biases and the weights of norm layers have one axis
    and do not move.

    Args:
        weights (Dict[str, torch.Tensor]): Floating-point weights by name.
        seed (int): Seed of the direction.
        normalise (bool): Whether to scale each filter. Defaults to True.
        widened (Sequence[str], optional): Names of weights that read 2C
            channels. The residual's half gets the draw of a plain model's
            weight, and the reference's half gets another. Defaults to none.

    Returns:
        Dict[str, torch.Tensor]: It has the weights' names, shapes and device.

    Raises:
        ValueError: No weight has two or more axes.

    Example:
        >>> direction = random_direction(dict(w=torch.ones(2, 3)), seed=0)
        >>> direction['w'].norm(dim=1)
        tensor([1.7321, 1.7321])
        >>> more = random_direction(
        ...     dict(other=torch.ones(5, 5), w=torch.ones(2, 3)), seed=0
        ... )
        >>> torch.equal(more['w'], direction['w'])
        True

    Source: Li et al., Visualizing the Loss Landscape of Neural Nets, NeurIPS
    2018, section 4.
    """
    check_seed(seed)
    widened = widened or ()
    direction = {}
    for name, weight in weights.items():
        drawn = torch.zeros_like(weight)
        if weight.dim() > 1:
            drawn = _drawn(weight, seed, name, name in widened).to(weight)
        direction[name] = drawn
    filters = [name for name, weight in weights.items() if weight.dim() > 1]
    if not filters:
        raise ValueError(
            'Expected weights with filters to move, of two axes '
            f'or more, but got {", ".join(weights) or "none"}.'
        )
    if normalise:
        for name in filters:
            wanted, have = (
                one[name].flatten(1).norm(dim=1)
                for one in (weights, direction)
            )
            scale = wanted / have.clamp_min(torch.finfo(have.dtype).tiny)
            direction[name] *= scale.view(-1, *[1] * (weights[name].dim() - 1))
        return direction
    wanted, have = (
        torch.stack([of[name].norm() for name in filters]).norm()
        for of in (weights, direction)
    )
    return {name: one * (wanted / have) for name, one in direction.items()}


def _drawn(
    weight: torch.Tensor, seed: int, name: str, is_widened: bool
) -> torch.Tensor:
    """Draw normal values of a weight's shape from seed and name."""
    if is_widened:
        residual, reference = (
            _drawn(half, seed, f'{name}{of}', False)
            for half, of in zip(weight.chunk(2, 1), ('', ' of references'))
        )
        return torch.cat([reference, residual], 1)
    digest = hashlib.sha256(f'{seed} {name}'.encode()).digest()
    generator = torch.Generator().manual_seed(
        int.from_bytes(digest[:8], 'big')
    )
    # on the CPU, so that all devices draw the same
    return torch.randn(weight.shape, generator=generator, dtype=torch.float64)


def moved_weights(
    weights: Weights, directions: Sequence[Weights], steps: Sequence[float]
) -> Weights:
    """Move weights along directions: w + Σ steps_i · directions_i.

    Args:
        weights (Dict[str, torch.Tensor]): The start, which is not changed.
        directions (Sequence[Dict[str, torch.Tensor]]): See
            :func:`random_direction`.
        steps (Sequence[float]): The step along each direction.

    Raises:
        ValueError: The numbers of steps and directions differ.

    Example:
        >>> weights = dict(w=torch.zeros(1, 2))
        >>> moved_weights(weights, [dict(w=torch.ones(1, 2))], [0.5])['w']
        tensor([[0.5000, 0.5000]])
    """
    if len(directions) != len(steps):
        raise ValueError(
            f'Expected a step for each of {len(directions)} '
            f'directions, but got {len(steps)}.'
        )
    found = {}
    for name, weight in weights.items():
        for direction, step in zip(directions, steps):
            weight = weight + step * direction[name]
        found[name] = weight
    return found
