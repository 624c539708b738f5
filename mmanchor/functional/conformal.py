"""Conformal prediction: sets of classes that cover the label."""

import math

import torch


def conformal_scores(
    probabilities: torch.Tensor,
    penalty: float = 0.0,
    free_classes: int = 2,
    check: bool = True,
) -> torch.Tensor:
    """Score classes: the less likely a class is, the higher its score.

    The score of a class is the probability of all classes that are likelier
    (APS), and ``penalty`` for each rank of the class beyond ``free_classes``
    (RAPS), which keeps the sets of uncertain images small. All
    classes with a score of at most a threshold are the smallest set of likely
    classes whose probability exceeds it; the likeliest is always among them.
    Classes of equal probability are ranked by their number.

    Both papers also draw a random number for each image, which makes the
    coverage exact where the likeliest class alone covers more than was asked
    for. Here it is left out: the same image has the same set each time.

    Args:
        probabilities (torch.Tensor): Predicted probabilities, averaged over
            references.
        penalty (float): The paper's λ, 0 or above. Defaults to 0.0, which is
            APS.
        free_classes (int): Ranks without a penalty, the paper's k_reg.
            Defaults to 2.
        check (bool): Whether to check that they are probabilities, which
            waits for a GPU. Defaults to True.

    Shape:
        - probabilities, output: (N, num_classes); the output is double

    Raises:
        TypeError: ``probabilities`` are no floating-point numbers.
        ValueError: They are not probabilities, or an argument is below 0.

    Example:
        >>> probabilities = torch.tensor([[0.125, 0.625, 0.25]])
        >>> conformal_scores(probabilities)
        tensor([[0.8750, 0.0000, 0.6250]], dtype=torch.float64)
        >>> conformal_scores(probabilities, penalty=0.5, free_classes=1)
        tensor([[1.8750, 0.0000, 1.1250]], dtype=torch.float64)

    Source: Romano, Sesia and Candès, Classification with Valid and Adaptive
    Coverage, NeurIPS 2020 (APS); Angelopoulos et al., Uncertainty Sets for
    Image Classifiers using Conformal Prediction, ICLR 2021 (RAPS).
    """
    for name, value in (('penalty', penalty), ('free_classes', free_classes)):
        if not 0 <= value < math.inf:
            raise ValueError(
                f'Expected `{name}` to be 0 or above, but got {value}. Change '
                'it.'
            )
    if check:
        _check_probabilities(probabilities)
    ordered, order = probabilities.double().sort(
        dim=1, descending=True, stable=True
    )
    above = ordered.cumsum(1).roll(1, dims=1)
    above[:, 0] = 0
    rank = torch.arange(1, ordered.size(1) + 1, device=ordered.device)
    above += penalty * (rank - free_classes).clamp(min=0)
    return torch.empty_like(above).scatter_(1, order, above)


def conformal_threshold(scores: torch.Tensor, coverage: float) -> float:
    """Compute the threshold of scores that covers the label often enough.

    If a new image comes from the same distribution as the held-out ones, the
    score of its label is at most this with a probability of at least
    ``coverage``, over draws of both the held-out images and the new one.

    Args:
        scores (torch.Tensor): The scores of the labels of held-out images.
        coverage (float): In (0, 1).

    Shape:
        - scores: (N,)

    Returns:
        float: The ceil((N + 1) · coverage)-th smallest score.

    Raises:
        ValueError: ``coverage`` is not between 0 and 1, there are too few
            images for it, or a score is NaN.

    Example:
        >>> conformal_threshold(torch.arange(1.0, 10.0), 0.9)
        9.0

    Source: Vovk, Gammerman and Shafer, Algorithmic Learning in a Random
    World, 2005.
    """
    if not 0 < coverage < 1:
        raise ValueError(
            f'Expected `coverage` to be between 0 and 1, but got {coverage}. '
            'Change it.'
        )
    if scores.dim() != 1 or scores.isnan().any():
        raise ValueError(
            'Expected a score of each held-out image, of shape (N,) and '
            f'without NaN, but got {tuple(scores.shape)} with '
            f'{int(scores.isnan().sum())} NaN. Change `scores`.'
        )
    # what rounding adds to a whole number must not lift it to the next
    place = math.ceil((len(scores) + 1) * coverage - 1e-9)
    if place > len(scores):
        needed = math.ceil(coverage / (1 - coverage) - 1e-9)
        raise ValueError(
            f'Expected at least {needed:,} held-out images for a coverage of '
            f'{coverage:g}, but got {len(scores):,}. Hold more images out, or '
            'ask for a lower coverage.'
        )
    return float(scores.double().sort().values[place - 1])


def _check_probabilities(probabilities: torch.Tensor) -> None:
    if not probabilities.is_floating_point():
        raise TypeError(
            'Expected `probabilities` to be floating-point numbers, but got '
            f'{probabilities.dtype}. Convert them.'
        )
    if probabilities.dim() != 2:
        raise ValueError(
            'Expected `probabilities` of shape (N, num_classes), but got '
            f'{tuple(probabilities.shape)}. Change them.'
        )
    # as far off as half precision makes them
    off = (probabilities.double().sum(1) - 1).abs()
    good = (off < 0.02) & (probabilities >= 0).all(1)
    if not good.all():
        raise ValueError(
            'Expected probabilities, which are not negative and add up to 1 '
            f'over classes, but got others for {int((~good).sum())} of '
            f'{len(good)} images. Take the softmax of logits.'
        )
