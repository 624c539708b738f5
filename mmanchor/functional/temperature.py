"""Temperature scaling: one number that is fitted on held-out images."""

import math

import torch
from torch.nn import functional as F

LOWEST, HIGHEST = 1e-3, 1e3


@torch.no_grad()
def fit_temperature(logits: torch.Tensor, labels: torch.Tensor) -> float:
    """Fit the temperature that makes held-out labels most likely.

    ``(logits / temperature).softmax(-1)`` is the calibrated answer. A
    temperature above 1 means that the model was too confident. The predicted
    class does not change. For an anchored model, pass the logits that it
    returns for plain images, which are those of all references together.

    Where the model is right on every image, the likelihood grows without
    end as the temperature falls. That is refused, because such a model would
    be certain of every answer: leave it uncalibrated, or hold out more
    images.

    Args:
        logits (torch.Tensor): Logits of images that are used neither for
            training nor for test.
        labels (torch.Tensor): True labels.

    Shape:
        - logits: (N, num_classes)
        - labels: (N,)

    Returns:
        float: A temperature between 0.001 and 1000, to six digits.

    Raises:
        TypeError: ``labels`` are not integers.
        ValueError: Shapes are wrong, there is no image, a logit is NaN or
            infinite, a label is not a class, or the likelihood is largest at
            0.001 or at 1000.

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
    minimize_scalar = _scipy_minimizer()
    labels = labels.to(logits.device, torch.long)
    _check(logits, labels)
    logits = logits.double()

    def loss(log_temperature: float) -> float:
        return F.cross_entropy(
            logits / math.exp(log_temperature), labels
        ).item()

    # A coarse grid first: where the likelihood is flat, a search that starts
    # anywhere else can end in the wrong valley.
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
    found = minimize_scalar(
        loss,
        bounds=(points[best - 1], points[best + 1]),
        method='bounded',
        options={'xatol': 1e-7},
    )
    return math.exp(found.x)


def _scipy_minimizer():
    try:
        from scipy.optimize import minimize_scalar
    except ImportError as error:
        raise ImportError(
            'Expected scipy to fit a temperature, but it is not installed. '
            'Install it with `pip install "mmanchor[eval]"`.'
        ) from error
    return minimize_scalar


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
