"""Out-of-distribution detection: anomaly scores and their quality.

All scores are larger for more anomalous images.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from mmpretrain.registry import METRICS

from ...functional import anchor_score, energy, max_logit
from .per_image import PerImageMetric, mark_nonfinite
from .predicted_batch import check_images


class AnomalyScore(NamedTuple):
    """A way to score predictions.

    Attributes:
        field (str): The field of the predictions that the score needs.
        function (Callable): Computes scores (B,) from that field (B, ...).
    """

    field: str
    function: Callable[[torch.Tensor], torch.Tensor]


def _log_of_other_probabilities(logs: torch.Tensor) -> torch.Tensor:
    """Compute the logarithm of 1 minus the largest probability.

    It orders images like the negated largest probability, but still tells
    them apart where that probability rounds to 1.
    """
    others = logs.sort(-1).values[..., :-1]
    return others.logsumexp(-1)


SCORES = {
    'energy': AnomalyScore('pred_logits', energy),
    'max_logit': AnomalyScore('pred_logits', max_logit),
    'anchor_score': AnomalyScore('pred_logits', anchor_score),
    'msp': AnomalyScore('log_scores', _log_of_other_probabilities),
    'entropy': AnomalyScore(
        'log_scores', lambda logs: -(logs.exp() * logs).sum(-1)
    ),
    'spread': AnomalyScore('pred_std', lambda stds: stds.mean(-1)),
    # Predictions have these if `uncertainty` of KReferenceHook names them.
    'mutual_information': AnomalyScore(
        'mutual_information', lambda values: values
    ),
    'predictive_entropy': AnomalyScore(
        'predictive_entropy', lambda values: values
    ),
}


def find_score(name: str) -> AnomalyScore:
    """Find an anomaly score, of this package or of pytorch-ood, by its name.

    Args:
        name (str): A key of ``SCORES``, or a class of ``pytorch_ood.detector``
            that needs logits only and no fitting, for example ``'GEN'``.

    Raises:
        ImportError: The name is not in ``SCORES``, and pytorch-ood is not
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
            'Change it, or install pytorch-ood to use its detectors: '
            '`pip install "mmanchor[ood]"`.'
        ) from error
    candidate = getattr(detector, str(name), None)
    if (
        isinstance(candidate, type)
        and issubclass(candidate, LogitsDetector)
        and not candidate.requires_fit
    ):
        try:
            return AnomalyScore('pred_logits', candidate(None).predict_logits)
        except TypeError:  # the constructor needs further arguments
            pass
    raise ValueError(
        f'Expected a score among {", ".join(SCORES)}, or a detector of '
        'pytorch-ood that needs logits only and no fitting, but got '
        f'{name!r}. Change it.'
    )


POSITIVE = ('ood', 'id')


def anomaly_rejection(
    scores: torch.Tensor, is_ood: torch.Tensor, positive: str = 'ood'
) -> dict:
    """Measure how well scores separate images in and out of distribution.

    torchmetrics computes AUROC and AUPR from the ranks of the scores. It
    would pass scores outside [0, 1] through a sigmoid, after which large ones
    are equal.

    Args:
        scores (torch.Tensor): Scores; larger ones are more anomalous.
        is_ood (torch.Tensor): Whether each image is out of distribution.
        positive (str): The class to detect, ``'ood'`` or ``'id'``. AUROC is
            the same for both. Defaults to ``'ood'``.

    Shape:
        - scores: (N,)
        - is_ood: (N,), bool

    Returns:
        dict: ``auroc``, in which ties count half; ``aupr``, the average
        precision, by steps rather than trapezoids; and ``fpr95``, the share
        of the other class above the highest threshold that detects at least
        95 % of the positive class.

    Raises:
        ImportError: torchmetrics is not installed.
        ValueError: One of the two classes has no image, a score is NaN or
            infinite, a shape is wrong, or ``positive`` is another word.

    Example:
        >>> scores = torch.tensor([-9.0, -8.0, -7.0, 40.0, 50.0])
        >>> anomaly_rejection(scores, scores > 0)
        {'auroc': 1.0, 'aupr': 1.0, 'fpr95': 0.0}

    Source: Hendrycks and Gimpel, A Baseline for Detecting Misclassified and
    Out-of-Distribution Examples in Neural Networks, ICLR 2017; Liang et al.,
    ODIN, ICLR 2018 (FPR at 95 % TPR).
    """
    _check_positive(positive)
    auroc, average_precision = _load_torchmetrics()
    if scores.dim() != 1 or is_ood.shape != scores.shape:
        raise ValueError(
            'Expected `scores` and `is_ood` of shape (N,), but got '
            f'{tuple(scores.shape)} and {tuple(is_ood.shape)}. Change either.'
        )
    check_images(scores)
    scores = scores.double()  # negating bytes would wrap around
    is_ood = is_ood.bool()
    num_ood = is_ood.sum().item()
    if num_ood in (0, len(is_ood)):
        raise ValueError(
            'Expected images in distribution and out of it, but got '
            f'{len(is_ood) - num_ood} in and {num_ood} out. Change the data '
            'set: labels below 0 mark images out of distribution.'
        )
    scores, target = (
        (scores, is_ood) if positive == 'ood' else (-scores, ~is_ood)
    )
    rank = torch.unique(scores, return_inverse=True)[1].double()
    rank /= rank.max().clamp(min=1)
    return dict(
        auroc=auroc(rank, target.long()).item(),
        # torchmetrics sums in single precision, which may exceed 1.
        aupr=average_precision(rank, target.long()).clamp(max=1).item(),
        fpr95=_fpr_at_tpr(scores, target, 0.95),
    )


def _fpr_at_tpr(scores, target, tpr) -> float:
    positives = scores[target].sort(descending=True).values
    needed = math.ceil(round(tpr * len(positives), 6))  # 0.95 is inexact
    return (scores[~target] >= positives[needed - 1]).double().mean().item()


def _check_positive(positive) -> None:
    if positive not in POSITIVE:
        raise ValueError(
            "Expected `positive` to be 'ood' or 'id', but got "
            f'{positive!r}. Change `positive`.'
        )


def _load_torchmetrics():
    try:
        from torchmetrics.functional.classification import (
            binary_auroc,
            binary_average_precision,
        )
    except ImportError as error:
        raise ImportError(
            'Expected torchmetrics, which computes AUROC and AUPR, but it is '
            'not installed. Install it with `pip install "mmanchor[eval]"`.'
        ) from error
    return binary_auroc, binary_average_precision


@METRICS.register_module()
class AnomalyRejection(PerImageMetric):
    """:func:`anomaly_rejection`, as ``ood/energy_auroc`` and so on.

    Images whose label is below 0 are out of distribution: see
    :class:`~mmanchor.datasets.MarkOutOfDistribution`.

    Args:
        scores (str | Sequence[str]): One or more of ``'energy'``,
            ``'max_logit'``, ``'msp'`` (the negated largest probability; logits
            order images whose probability rounds to 1), ``'entropy'`` (of
            ``pred_score``), ``'spread'`` (of the logits over references, mean
            over classes), ``'anchor_score'`` (of the paper on anchor
            marginalisation, AMP), ``'mutual_information'`` and
            ``'predictive_entropy'`` (if predictions have them), or names of
            detectors of pytorch-ood that need logits only. Defaults to
            ``'energy'``.
        positive (str): See :func:`anomaly_rejection`. Defaults to ``'ood'``.
        collect_device (str): See MMEngine's ``BaseMetric``.
        prefix (str, optional): See MMEngine's ``BaseMetric``.

    Raises:
        ImportError: torchmetrics is not installed, or a score needs
            pytorch-ood and it is not installed.
        ValueError: There is no such score, or ``positive`` is another word.
    """

    default_prefix = 'ood'

    def __init__(
        self,
        scores: str | Sequence[str] = 'energy',
        positive: str = 'ood',
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ):
        super().__init__(collect_device=collect_device, prefix=prefix)
        names = [scores] if isinstance(scores, str) else list(scores)
        if not names:
            raise ValueError(
                'Expected `scores` to be one score or more, but '
                "got none. Change `scores`, for example to 'energy'."
            )
        _check_positive(positive)
        _load_torchmetrics()  # raise before training, not after it
        self.scores = {name: find_score(name) for name in names}
        self.positive = positive

    def numbers(self, batch):
        """See :class:`PerImageMetric`."""
        columns = [batch.labels < 0]
        for score in self.scores.values():
            values = batch[score.field]
            columns.append(
                mark_nonfinite(score.function(values.double()), values)
            )
        return columns

    def of_images(self, is_ood, *columns):
        """Compute all three numbers for each score over all images."""
        return {
            f'{name}_{key}': value
            for name, column in zip(self.scores, columns)
            for key, value in anomaly_rejection(
                column, is_ood, self.positive
            ).items()
        }
