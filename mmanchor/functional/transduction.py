"""The best reference for each image: bilinear transduction (BLT).

With candidates ``r_i`` and residuals ``D_j`` seen in training, an image ``x``
is anchored to the candidate that minimises ``min_j |(x - r_i) - D_j|``. As

    |x - r_i - D_j|^2 = |x|^2 - 2 x r_i - 2 x D_j + |r_i + D_j|^2,

a search costs two matrix products once the last term is stored.

Source: Netanyahu et al., "Learning to Extrapolate: A Transductive Approach"
(ICLR 2023); arXiv 2406.00529 tests it for anchored models.
"""

import torch

_BLOCK = 2**22  # numbers in a block: 16 MiB


def pair_norms(
    candidates: torch.Tensor, residuals: torch.Tensor
) -> torch.Tensor:
    """Compute ``|r_i + D_j|^2`` of all candidates and residuals.

    Shape:
        - candidates: (M, D)
        - residuals: (N, D)
        - output: (M, N)

    Example:
        >>> pair_norms(torch.ones(2, 3), torch.ones(5, 3)).shape
        torch.Size([2, 5])
    """
    squares = candidates.square().sum(1)[:, None] + residuals.square().sum(1)
    return squares + 2 * candidates @ residuals.T


def best_candidates(
    points: torch.Tensor,
    candidates: torch.Tensor,
    residuals: torch.Tensor,
    norms: torch.Tensor,
) -> torch.Tensor:
    """Find the candidate for each point whose residual is closest to one seen.

    Args:
        points (torch.Tensor): Images, or their features.
        candidates (torch.Tensor): ``r_i``, in the same space.
        residuals (torch.Tensor): ``D_j``, in the same space.
        norms (torch.Tensor): Their :func:`pair_norms`.

    Shape:
        - points: (B, D)
        - candidates: (M, D)
        - residuals: (N, D)
        - norms: (M, N)
        - output: (B,), indices of candidates

    Example:
        >>> candidates = torch.tensor([[0.0, 0.0], [5.0, 5.0]])
        >>> residuals = torch.tensor([[1.0, 0.0], [0.0, -1.0]])
        >>> best_candidates(
        ...     torch.tensor([[5.0, 4.0], [1.0, 0.0]]),
        ...     candidates,
        ...     residuals,
        ...     pair_norms(candidates, residuals),
        ... ).tolist()
        [1, 0]
    """
    half = norms / 2
    to_candidates = points @ candidates.T  # B M
    to_residuals = points @ residuals.T  # B N
    at_once = max(1, _BLOCK // norms.numel())
    nearest = torch.cat(
        [
            (half - block[:, None]).amin(-1)  # b M
            for block in to_residuals.split(at_once)
        ]
    )
    return (nearest - to_candidates).argmin(1)
