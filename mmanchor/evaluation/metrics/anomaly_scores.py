"""How odd an image is, by name: larger is more anomalous."""

from collections.abc import Callable
from typing import NamedTuple

import torch

from ...functional import anchor_score, energy, max_logit


class AnomalyScore(NamedTuple):
    """A score of a batch of predictions.

    Attributes:
        field (str): Of the predictions, what it is made from.
        function (Callable): From (B, ...) to (B,).
    """

    field: str
    function: Callable[[torch.Tensor], torch.Tensor]


def _log_doubt(logs: torch.Tensor) -> torch.Tensor:
    """Logarithm of 1 - the largest probability.

    The order is that of the largest probability, negated, which rounds to 1
    for all images that a model is sure of.
    """
    others = logs.sort(-1).values[..., :-1]
    return others.logsumexp(-1)


SCORES = {
    'energy': AnomalyScore('pred_logits', energy),
    'max_logit': AnomalyScore('pred_logits', max_logit),
    'anchor_score': AnomalyScore('pred_logits', anchor_score),
    'msp': AnomalyScore('log_scores', _log_doubt),
    'entropy': AnomalyScore(
        'log_scores', lambda logs: -(logs.exp() * logs).sum(-1)
    ),
    'spread': AnomalyScore('pred_std', lambda stds: stds.mean(-1)),
    # where KReferenceHook(uncertainty=...) has predictions carry them
    'mutual_information': AnomalyScore(
        'mutual_information', lambda values: values
    ),
    'predictive_entropy': AnomalyScore(
        'predictive_entropy', lambda values: values
    ),
}


def find_score(name: str) -> AnomalyScore:
    """A score by its name here, or by that of a detector of pytorch-ood.

    Args:
        name (str): A key of ``SCORES``, or a class of ``pytorch_ood.detector``
            that needs logits only and no fitting, ``'GEN'`` for example.

    Raises:
        ImportError: It is none of ``SCORES``, and pytorch-ood is not
            installed.
        ValueError: There is no such score.

    Example:
        >>> find_score('max_logit').function(torch.tensor([[1.0, 3.0]])).item()
        -3.0
    """
    if name in SCORES:
        return SCORES[name]
    try:
        from pytorch_ood import detector
        from pytorch_ood.api import LogitsDetector
    except ImportError as error:
        raise ImportError(
            f'Expected a score among {", ".join(SCORES)}, but got {name!r}. '
            "Change it, or install pytorch-ood for its detectors' scores: "
            '`pip install "mmanchor[ood]"`.'
        ) from error
    found = getattr(detector, str(name), None)
    if (
        isinstance(found, type)
        and issubclass(found, LogitsDetector)
        and not found.requires_fit
    ):
        try:
            return AnomalyScore('pred_logits', found(None).predict_logits)
        except TypeError:  # it wants more than the model
            pass
    raise ValueError(
        f'Expected a score among {", ".join(SCORES)}, or a detector of '
        'pytorch-ood that needs logits only and no fitting, but got '
        f'{name!r}. Change it.'
    )
