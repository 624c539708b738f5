"""Decides when further references would not change a prediction."""

import math
from functools import cache

import numpy as np
import torch

from .uncertainty import average_space

# Gauss-Legendre quadrature over [0, 1]
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(64)
_NODES, _WEIGHTS = (_NODES + 1) / 2, _WEIGHTS / 2


def settled(
    logits: torch.Tensor,
    num_references: int,
    standard_errors: float = 3.0,
    average: str = 'logits',
) -> torch.Tensor:
    """Decide whether the class predicted after n references will remain.

    It will where its mean lead over every other class exceeds t standard
    errors of the mean over all K references, estimated from the n seen so
    far: ``t s sqrt(1/n - 1/K)``, where s is the sample standard deviation of
    the lead. t is a quantile of Student's distribution with n - 1 degrees of
    freedom, since s is estimated from n numbers.

    If leads are normal, the probability that a given other class overtakes is
    at most that of a normal variable beyond ``standard_errors``, over all
    tests at n = 2, 3, ... together. The test at n uses a share of
    1 / (n (n - 1)) of it. These shares sum to at most 1 for every K.

    Args:
        logits (torch.Tensor): Logits for the n references seen so far.
        num_references (int): K, of which n were seen.
        standard_errors (float): At least 0; it sets that probability.
            Defaults to 3, which gives 0.135 %.
        average (str): What is averaged over references, see
            :func:`~mmanchor.functional.average_references`.

    Shape:
        - logits: (n, B, num_classes), n >= 2
        - output: (B,), bool

    Example:
        >>> sure, unsure = [[9.0, 0.0], [8.99, 0.0]], [[9.0, 0.0], [8.0, 0.0]]
        >>> settled(torch.tensor([sure, unsure]).transpose(0, 1), 10).tolist()
        [True, False]

    Source: the standard error of a mean over a finite population, e.g.
    Cochran, Sampling Techniques (1977), section 2.8.
    """
    values = average_space(logits, average)
    seen = len(values)
    ahead = values.mean(0).argmax(-1)  # B
    lead = values.gather(-1, ahead.expand(seen, -1)[..., None]) - values
    error = lead.std(0) * max(0.0, 1 / seen - 1 / num_references) ** 0.5
    allowed = math.erfc(standard_errors / 2**0.5) / 2 / (seen * (seen - 1))
    # equal references have no error; infinity times 0 is NaN
    margin = (t_quantile(allowed, seen - 1) * error).nan_to_num(0.0)
    safe = lead.mean(0) > margin
    return safe.scatter(-1, ahead[:, None], True).all(-1)


@cache
def t_quantile(probability: float, freedom: int) -> float:
    """Compute the value that Student's t exceeds with a given probability.

    Args:
        probability (float): Probability of the upper tail, in [0, 0.5]. The
            quantile of 0 is infinite.
        freedom (int): Degrees of freedom, at least 1.

    Example:
        >>> round(t_quantile(0.025, 9), 3)
        2.262

    Source: with t = sqrt(freedom) / tan(angle) the density of t becomes
    sin(angle)^(freedom - 1) over Beta(freedom / 2, 1/2).
    """
    if not probability:
        return math.inf
    constant = (
        math.exp(math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2))
        / math.pi**0.5
    )
    # bisect the logarithm, since angles of rare events are tiny
    low, high = math.log(1e-300), math.log(math.pi / 2)
    for _ in range(100):
        angle = math.exp((low + high) / 2)
        heights = np.sin(angle * _NODES) ** (freedom - 1)
        if constant * angle * (_WEIGHTS @ heights) < probability:
            low = math.log(angle)
        else:
            high = math.log(angle)
    return freedom**0.5 / math.tan(angle)
