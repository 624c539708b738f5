"""Anchoring written down as it is read: what mmanchor is measured against.

Nothing is shared between references, images or searches.
"""

from collections.abc import Callable

import torch


def naive_training_rows(
    images: torch.Tensor, references: torch.Tensor, masked: bool
) -> torch.Tensor:
    """A training batch anchored by hand, as the authors' code does.

    Args:
        images (torch.Tensor): Normalised.
        references (torch.Tensor): A batch of another loader, normalised.
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
    """Every pair of an image and a reference in one batch, then the mean.

    Args:
        model (Callable): Takes anchored rows.
        images (torch.Tensor): Normalised.
        references (torch.Tensor): Normalised.

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
    """How near each candidate brings each image to a residual seen before.

    Args:
        images (torch.Tensor): Normalised.
        candidates (torch.Tensor): References to choose from, normalised.
        residuals (torch.Tensor): Differences between training images.

    Shape:
        - images: (B, C, H, W)
        - candidates: (M, C, H, W)
        - residuals: (N, C, H, W)
        - output: (B, M), ``min_j ||(x - r_i) - residual_j||``

    Source: the definition of Netanyahu et al. (ICLR 2023), one image and one
    candidate after the other.
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
    """One pass with the nearest candidate of each image.

    Args:
        model (Callable): Takes anchored rows.
        images (torch.Tensor): Normalised.
        candidates (torch.Tensor): See :func:`naive_search`.
        residuals (torch.Tensor): See :func:`naive_search`.

    Shape:
        - output: (B, num_classes)
    """
    chosen = naive_search(images, candidates, residuals).argmin(1)
    references = candidates[chosen]
    return model(torch.cat([references, images - references], dim=1))


def differing(
    logits: torch.Tensor, expected: torch.Tensor, tolerance: float
) -> torch.Tensor:
    """Which rows differ by more than a share of their norm.

    Shape:
        - logits, expected: (B, num_classes)
        - output: (B,), bool
    """
    difference = (logits - expected).norm(dim=1)
    return ~(difference <= tolerance * expected.norm(dim=1))


def untied_picks(
    model: Callable,
    logits: torch.Tensor,
    images: torch.Tensor,
    candidates: torch.Tensor,
    residuals: torch.Tensor,
    tolerance: float,
    tie: float = 1e-4,
) -> tuple[int, int]:
    """Rows that answer for no candidate which is as near as the nearest.

    Args:
        model (Callable): Takes anchored rows.
        logits (torch.Tensor): What transduction answered.
        images (torch.Tensor): Normalised.
        candidates (torch.Tensor): See :func:`naive_search`.
        residuals (torch.Tensor): See :func:`naive_search`.
        tolerance (float): Relative, of the logits.
        tie (float): Relative, of the distances, which rounding may change.
            Defaults to 1e-4.

    Shape:
        - logits: (B, num_classes)

    Returns:
        Tuple[int, int]: How many rows, and how many of the others answer for
        another candidate than the loop's.
    """
    distances = naive_search(images, candidates, residuals)
    nearest = distances.amin(1, keepdim=True)
    wrong = other = 0
    for row, (image, tied) in enumerate(
        zip(images, distances <= nearest * (1 + tie))
    ):
        near = candidates[tied]
        answers = model(torch.cat([near, image - near], dim=1))
        apart = differing(logits[row].expand_as(answers), answers, tolerance)
        first = int(distances[row, tied].argmin())
        wrong += bool(apart.all())
        other += bool(apart[first] and not apart.all())
    return wrong, other
