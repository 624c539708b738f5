"""How much too sure a model is: one number, from held-out images."""

import math
from collections.abc import Callable

import torch
from torch.nn import functional as F

LOWEST, HIGHEST = 1e-3, 1e3
GOLDEN = (math.sqrt(5) - 1) / 2


@torch.no_grad()
def fit_temperature(logits: torch.Tensor, labels: torch.Tensor) -> float:
    """Temperature that makes held-out labels most likely.

    ``(logits / temperature).softmax(-1)`` is the calibrated answer. Above 1,
    the model was too sure. Which class comes first stays as it is. Of
    anchored models the logits are the answer of all references together,
    whatever is averaged: what the model gives for plain images.

    Where no image is wrong, likelihood grows for ever as the temperature
    falls. That is refused, for a model set so would be certain of all it
    says: leave it uncalibrated, or hold out more images.

    Args:
        logits (torch.Tensor): Of images not trained on, and not tested on.
        labels (torch.Tensor): True labels.

    Shape:
        - logits: (N, num_classes)
        - labels: (N,)

    Returns:
        float: Between 0.001 and 1000, to six digits.

    Raises:
        TypeError: ``labels`` are no integers.
        ValueError: Shapes are others, there is no image, one has NaN or
            infinity, a label is none of the classes, or likelihood is largest
            at 0.001 or at 1000.

    Example:
        >>> logits = torch.tensor([[2.0, 0.0]] * 4)  # probabilities .88, .12
        >>> temperature = fit_temperature(logits, torch.tensor([0, 0, 0, 1]))
        >>> (logits[0] / temperature).softmax(0)
        tensor([0.7500, 0.2500])

    Source: Guo et al., On Calibration of Modern Neural Networks, ICML 2017;
    after averaging rather than before: Rahaman and Thiery, Uncertainty
    Quantification and Deep Ensembles, NeurIPS 2021.
    """
    if labels.is_floating_point() or labels.dtype == torch.bool:
        raise TypeError(
            'Expected `labels` to be integers, but got '
            f'{labels.dtype}. Convert them.'
        )
    labels = labels.to(logits.device, torch.long)
    _check(logits, labels)
    logits = logits.double()

    def loss(log_temperature: float) -> float:
        return F.cross_entropy(
            logits / math.exp(log_temperature), labels
        ).item()

    # first, coarsely: where likelihood is flat a search would go astray
    points = torch.linspace(math.log(LOWEST), math.log(HIGHEST), 13).tolist()
    losses = [loss(point) for point in points]
    best = losses.index(min(losses))
    if best in (0, len(points) - 1):
        right = logits.argmax(-1) == labels
        raise ValueError(
            'Expected held-out images that are most likely at a temperature '
            f'between {LOWEST:g} and {HIGHEST:g}, but got '
            f'{math.exp(points[best]):g}: the model is right on '
            f'{right.sum().item()} of {len(labels)}. Change to more held-out '
            'images, or leave it as it is: a model that is right on all, or '
            'no better than chance, has no temperature.'
        )
    return math.exp(_minimum(loss, points[best - 1], points[best + 1]))


def _minimum(
    function: Callable[[float], float], low: float, high: float
) -> float:
    """Where a function of one valley is lowest: golden-section search."""
    left, right = high - GOLDEN * (high - low), low + GOLDEN * (high - low)
    at_left, at_right = function(left), function(right)
    while high - low > 1e-6:
        if at_left < at_right:
            high, right, at_right = right, left, at_left
            left = high - GOLDEN * (high - low)
            at_left = function(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + GOLDEN * (high - low)
            at_right = function(right)
    return (low + high) / 2


def _check(logits: torch.Tensor, labels: torch.Tensor) -> None:
    if logits.dim() != 2 or labels.shape != logits.shape[:1]:
        raise ValueError(
            'Expected logits of shape (N, num_classes) and labels of shape '
            f'(N,), but got {tuple(logits.shape)} and {tuple(labels.shape)}. '
            'Change either.'
        )
    if not logits.numel():
        raise ValueError(
            'Expected logits of one held-out image or more, but '
            'got none. Change the data set.'
        )
    bad = (~logits.isfinite().all(1)).sum().item()
    if bad:
        raise ValueError(
            f'Expected finite logits, but got NaN or infinity for {bad} of '
            f'{len(labels)} images. Change the checkpoint or the precision '
            'it is run in.'
        )
    wrong = labels[(labels < 0) | (labels >= logits.size(1))]
    if len(wrong):
        raise ValueError(
            f'Expected labels from 0 to {logits.size(1) - 1}, but got '
            f'{wrong[0].item()}. Change the data set.'
        )
