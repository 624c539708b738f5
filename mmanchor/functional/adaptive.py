"""When further references would not change a prediction."""

import math
from functools import cache

import numpy as np
import torch

from .uncertainty import average_space

# of an integral from 0 to 1, by Gauss and Legendre
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(64)
_NODES, _WEIGHTS = (_NODES + 1) / 2, _WEIGHTS / 2


def settled(
    logits: torch.Tensor,
    num_references: int,
    standard_errors: float = 3.0,
    average: str = 'logits',
) -> torch.Tensor:
    """Whether the class ahead after n references is safe to stay ahead.

    It is where its mean lead over every other class is more than t standard
    errors of the mean over all K references, as far as the n seen so far
    tell: ``t s sqrt(1/n - 1/K)``, with s the sample standard deviation of
    that lead. t is the quantile of Student's distribution with n - 1 degrees
    of freedom, since s comes from n numbers only.

    The probability that the class ahead is overtaken by a given other class
    is at most that of a normal variable beyond ``standard_errors``, over all
    looks at n = 2, 3, ... together, if leads are normal. The look at n may
    use a share of 1 / (n (n - 1)) of it; these shares sum to at most 1,
    whatever K is.

    Args:
        logits (torch.Tensor): For the n references seen so far.
        num_references (int): K, of which n were seen.
        standard_errors (float): Sets that probability, at least 0. Defaults
            to 3, which is 0.135 %.
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
    # 0 for equal references, however safe it has to be
    margin = (t_quantile(allowed, seen - 1) * error).nan_to_num(0.0)
    safe = lead.mean(0) > margin
    return safe.scatter(-1, ahead[:, None], True).all(-1)


@cache
def t_quantile(probability: float, freedom: int) -> float:
    """The value that Student's t exceeds with a probability.

    Args:
        probability (float): Of the upper tail, in [0, 0.5]. The quantile of 0
            is infinite.
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
    # bisection of the logarithm: angles of rare events are tiny
    low, high = math.log(1e-300), math.log(math.pi / 2)
    for _ in range(100):
        angle = math.exp((low + high) / 2)
        heights = np.sin(angle * _NODES) ** (freedom - 1)
        if constant * angle * (_WEIGHTS @ heights) < probability:
            low = math.log(angle)
        else:
            high = math.log(angle)
    return freedom**0.5 / math.tan(angle)
