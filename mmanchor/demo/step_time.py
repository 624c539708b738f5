"""Training time of models against each other, measured side by side."""

import copy
from collections.abc import Sequence
from statistics import median

import torch
from mmengine.optim import OptimWrapper
from torch import nn

from ..utils.timing import seconds


def step_time_ratios(
    models: Sequence[nn.Module], batch: dict, rounds: int = 40, warmup: int = 5
) -> list[float]:
    """Time of a training step of each model over that of the first.

    Models take turns, so that a noisy machine disturbs all alike; what is
    returned is the median over rounds of the ratio within a round. The models
    themselves are not changed.

    Args:
        models (Sequence[torch.nn.Module]): Host classifiers.
        batch (dict): A collated training batch.
        rounds (int): Rounds to measure. Defaults to 40.
        warmup (int): Rounds before that. Defaults to 5.

    Returns:
        List[float]: The first is 1.
    """
    models = [copy.deepcopy(model).train() for model in models]
    optimizers = [
        OptimWrapper(torch.optim.SGD(model.parameters(), lr=1e-6))
        for model in models
    ]
    times: list[list[float]] = []
    for _ in range(warmup + rounds):
        times.append(
            [
                _time_step(model, optimizer, batch)
                for model, optimizer in zip(models, optimizers)
            ]
        )
    return [
        median(row[i] / row[0] for row in times[warmup:])
        for i in range(len(models))
    ]


def _time_step(model, optimizer, batch: dict) -> float:
    batch = copy.deepcopy(batch)
    device = next(model.parameters()).device
    return seconds(lambda: model.train_step(batch, optimizer), device)
