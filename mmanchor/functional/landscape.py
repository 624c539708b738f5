"""Directions in which weights are moved, to see how accuracy falls off."""
from typing import Dict, Sequence

import torch

from .draws import check_seed

Weights = Dict[str, torch.Tensor]


def random_direction(weights: Weights,
                     seed: int,
                     normalise: bool = True) -> Weights:
    """A random direction for weights, of their own size.

    Normalised, each filter (a row of the first axis) of the direction has the
    norm of the weights' filter, so that networks whose filters differ in
    scale can be compared. Raw, it is scaled as a whole to the norm of all
    filters. Biases and the weights of norm layers, which have one axis, stay
    where they are.

    Args:
        weights (Dict[str, torch.Tensor]): Of floating point.
        seed (int): Of the direction.
        normalise (bool): Filter by filter. Defaults to True.

    Returns:
        Dict[str, torch.Tensor]: Of the weights' names, shapes and device.

    Raises:
        ValueError: No weight has two axes.

    Example:
        >>> direction = random_direction(dict(w=torch.ones(2, 3)), seed=0)
        >>> direction['w'].norm(dim=1)
        tensor([1.7321, 1.7321])

    Source: Li et al., Visualizing the Loss Landscape of Neural Nets, NeurIPS
    2018, section 4.
    """
    generator = torch.Generator().manual_seed(check_seed(seed))
    direction = {}
    for name, weight in weights.items():
        # on the CPU, so that all devices draw the same
        drawn = torch.randn(
            weight.shape, generator=generator, dtype=torch.float64)
        drawn = drawn.to(weight) if weight.dim() > 1 else torch.zeros_like(
            weight)
        direction[name] = drawn
    filters = [name for name, weight in weights.items() if weight.dim() > 1]
    if not filters:
        raise ValueError('Expected weights with filters to move, of two axes '
                         f'or more, but got {", ".join(weights) or "none"}.')
    if normalise:
        for name in filters:
            wanted, have = (
                one[name].flatten(1).norm(dim=1)
                for one in (weights, direction))
            scale = wanted / have.clamp_min(torch.finfo(have.dtype).tiny)
            direction[name] *= scale.view(-1, *[1] * (weights[name].dim() - 1))
        return direction
    wanted, have = (
        torch.stack([of[name].norm() for name in filters]).norm()
        for of in (weights, direction))
    return {name: one * (wanted / have) for name, one in direction.items()}


def moved_weights(weights: Weights, directions: Sequence[Weights],
                  steps: Sequence[float]) -> Weights:
    """Weights some steps away: w + Σ steps_i · directions_i.

    Args:
        weights (Dict[str, torch.Tensor]): Where from; left as they are.
        directions (Sequence[Dict[str, torch.Tensor]]): See
            :func:`random_direction`.
        steps (Sequence[float]): How far in each.

    Raises:
        ValueError: There are more or fewer steps than directions.

    Example:
        >>> weights = dict(w=torch.zeros(1, 2))
        >>> moved_weights(weights, [dict(w=torch.ones(1, 2))], [.5])['w']
        tensor([[0.5000, 0.5000]])
    """
    if len(directions) != len(steps):
        raise ValueError(f'Expected a step for each of {len(directions)} '
                         f'directions, but got {len(steps)}.')
    found = {}
    for name, weight in weights.items():
        for direction, step in zip(directions, steps):
            weight = weight + step * direction[name]
        found[name] = weight
    return found
