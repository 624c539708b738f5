"""Naive implementations of anchoring, which mmanchor is compared with.

They follow the definitions directly, and share no work between references,
images or searches.
"""

from collections.abc import Callable

import torch


def naive_training_rows(
    images: torch.Tensor, references: torch.Tensor, masked: bool
) -> torch.Tensor:
    """Anchor a training batch by hand, as the authors' code does.

    Args:
        images (torch.Tensor): Normalised images.
        references (torch.Tensor): A normalised batch of another loader.
        masked (bool): Whether to blank all references.

    Shape:
        - images, references: (B, C, H, W)
        - output: (B, 2C, H, W)
    """
    residuals = images - references
    if masked:
        references = torch.zeros_like(references)
    return torch.cat([references, residuals], dim=1)


def naive_mean(
    model: Callable, images: torch.Tensor, references: torch.Tensor
) -> torch.Tensor:
    """Average the logits of all references, computed in one large batch.

    Args:
        model (Callable): A function from anchored rows to logits.
        images (torch.Tensor): Normalised images.
        references (torch.Tensor): Normalised references.

    Shape:
        - images: (B, C, H, W)
        - references: (K, C, H, W)
        - output: (B, num_classes)
    """
    pairs = (len(references), len(images), *images.shape[1:])
    r = references[:, None].expand(pairs).reshape(-1, *pairs[2:])
    x = images.expand(pairs).reshape(-1, *pairs[2:])
    logits = model(torch.cat([r, x - r], dim=1))
    return logits.reshape(*pairs[:2], -1).mean(0)


def naive_search(
    images: torch.Tensor, candidates: torch.Tensor, residuals: torch.Tensor
) -> torch.Tensor:
    """Compute the distance of each candidate's residual to the stored ones.

    Args:
        images (torch.Tensor): Normalised images.
        candidates (torch.Tensor): Normalised references to choose from.
        residuals (torch.Tensor): Differences between training images.

    Shape:
        - images: (B, C, H, W)
        - candidates: (M, C, H, W)
        - residuals: (N, C, H, W)
        - output: (B, M), ``min_j ||(x - r_i) - residual_j||``

    Source: the definition of Netanyahu et al. (ICLR 2023), computed for one
    image and one candidate after the other.
    """
    distances = images.new_empty(len(images), len(candidates))
    for b, image in enumerate(images):
        for i, candidate in enumerate(candidates):
            differences = (image - candidate) - residuals
            distances[b, i] = differences.flatten(1).norm(dim=1).min()
    return distances


def naive_transduction(
    model: Callable,
    images: torch.Tensor,
    candidates: torch.Tensor,
    residuals: torch.Tensor,
) -> torch.Tensor:
    """Compute the logits of each image with its nearest candidate.

    Args:
        model (Callable): A function from anchored rows to logits.
        images (torch.Tensor): Normalised images.
        candidates (torch.Tensor): See :func:`naive_search`.
        residuals (torch.Tensor): See :func:`naive_search`.

    Shape:
        - output: (B, num_classes)
    """
    chosen = naive_search(images, candidates, residuals).argmin(1)
    references = candidates[chosen]
    return model(torch.cat([references, images - references], dim=1))


def rows_differ(
    logits: torch.Tensor, expected: torch.Tensor, tolerance: float
) -> torch.Tensor:
    """Say which rows differ by more than a share of their norm.

    Shape:
        - logits, expected: (B, num_classes)
        - output: (B,), bool
    """
    difference = (logits - expected).norm(dim=1)
    return ~(difference <= tolerance * expected.norm(dim=1))


def count_wrong_choices(
    model: Callable,
    logits: torch.Tensor,
    images: torch.Tensor,
    candidates: torch.Tensor,
    residuals: torch.Tensor,
    tolerance: float,
    tie: float = 1e-4,
) -> tuple[int, int]:
    """Count the rows whose logits belong to a candidate that is not nearest.

    Rounding decides between candidates that are equally near, so any of them
    is right.

    Args:
        model (Callable): A function from anchored rows to logits.
        logits (torch.Tensor): The result of transduction.
        images (torch.Tensor): Normalised images.
        candidates (torch.Tensor): See :func:`naive_search`.
        residuals (torch.Tensor): See :func:`naive_search`.
        tolerance (float): The relative difference of logits that counts as
            rounding.
        tie (float): The relative difference of distances that counts as
            rounding. Defaults to 1e-4.

    Shape:
        - logits: (B, num_classes)

    Returns:
        Tuple[int, int]: The number of wrong rows, and the number of right
        rows whose candidate is not the one that :func:`naive_search` finds.
    """
    distances = naive_search(images, candidates, residuals)
    nearest = distances.amin(1, keepdim=True)
    wrong = ties = 0
    for row, (image, tied) in enumerate(
        zip(images, distances <= nearest * (1 + tie))
    ):
        near = candidates[tied]
        expected = model(torch.cat([near, image - near], dim=1))
        differs = rows_differ(
            logits[row].expand_as(expected), expected, tolerance
        )
        first = int(distances[row, tied].argmin())
        wrong += bool(differs.all())
        ties += bool(differs[first] and not differs.all())
    return wrong, ties
