"""When further references would not change a prediction."""
import torch

from .uncertainty import average_space


def settled(logits: torch.Tensor,
            num_references: int,
            standard_errors: float = 3.,
            average: str = 'logits') -> torch.Tensor:
    """Whether the class ahead after n references is safe to stay ahead.

    It is where its mean lead over every other class is more than some
    standard errors of the mean over all K references, as far as the n seen
    so far tell: ``s sqrt(1/n - 1/K)``, with s the sample standard deviation
    of that lead.

    Args:
        logits (torch.Tensor): For the n references seen so far.
        num_references (int): K, of which n were seen.
        standard_errors (float): How many, at least 0. Defaults to 3.
        average (str): What is averaged over references, see
            :func:`~mmanchor.functional.average_references`.

    Shape:
        - logits: (n, B, num_classes), n >= 2
        - output: (B,), bool

    Example:
        >>> sure, unsure = [[9., 0.], [8., 0.]], [[3., 0.], [-1., 0.]]
        >>> settled(torch.tensor([sure, unsure]).transpose(0, 1), 10).tolist()
        [True, False]

    Source: the standard error of a mean over a finite population, e.g.
    Cochran, Sampling Techniques (1977), section 2.8.
    """
    values = average_space(logits, average)
    seen = len(values)
    ahead = values.mean(0).argmax(-1)  # B
    lead = values.gather(-1, ahead.expand(seen, -1)[..., None]) - values
    error = lead.std(0) * max(0., 1 / seen - 1 / num_references)**0.5
    safe = lead.mean(0) > standard_errors * error
    return safe.scatter(-1, ahead[:, None], True).all(-1)
