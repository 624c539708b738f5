"""Does a model tell images of other kinds from its own?"""

import math
from collections.abc import Sequence

import torch
from mmpretrain.registry import METRICS

from .anomaly_scores import find_score
from .per_image import PerImageMetric, marked
from .predicted_batch import check_images

POSITIVE = ('ood', 'id')


def anomaly_rejection(
    scores: torch.Tensor, is_ood: torch.Tensor, positive: str = 'ood'
) -> dict:
    """How well scores part images in and out of distribution.

    torchmetrics does the sums of the first two, on the scores' ranks: it
    would put scores outside [0, 1] through a sigmoid, which makes large ones
    equal.

    Args:
        scores (torch.Tensor): Larger is more anomalous.
        is_ood (torch.Tensor): Which images are out of distribution.
        positive (str): The class to be found, ``'ood'`` or ``'id'``. AUROC
            is the same for both. Defaults to ``'ood'``.

    Shape:
        - scores: (N,)
        - is_ood: (N,), bool

    Returns:
        dict: ``auroc``, where ties count half; ``aupr``, average precision
        (steps, not trapezoids); ``fpr95``, the share of the other class above
        the highest threshold that finds at least 95 % of the positive one.

    Raises:
        ImportError: torchmetrics is not installed.
        ValueError: There is no image, none of one class, one has NaN or
            infinity, shapes are others, or ``positive`` is another word.

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
    scores = scores.double()  # may be negated: bytes would wrap
    is_ood = is_ood.bool()
    num_ood = is_ood.sum().item()
    if num_ood in (0, len(is_ood)):
        raise ValueError(
            'Expected images in distribution and out of it, but got '
            f'{len(is_ood) - num_ood} in and {num_ood} out. Change the data '
            'set: a label below 0 says out of distribution.'
        )
    scores, target = (
        (scores, is_ood) if positive == 'ood' else (-scores, ~is_ood)
    )
    rank = torch.unique(scores, return_inverse=True)[1].double()
    rank /= rank.max().clamp(min=1)
    return dict(
        auroc=auroc(rank, target.long()).item(),
        # sums in single precision, which may round to more than 1
        aupr=average_precision(rank, target.long()).clamp(max=1).item(),
        fpr95=_fpr_at_tpr(scores, target, 0.95),
    )


def _fpr_at_tpr(scores, target, tpr) -> float:
    found = scores[target].sort(descending=True).values
    needed = math.ceil(round(tpr * len(found), 6))  # 0.95 is no binary number
    return (scores[~target] >= found[needed - 1]).double().mean().item()


def _check_positive(positive) -> None:
    if positive not in POSITIVE:
        raise ValueError(
            "Expected `positive` to be 'ood' or 'id', but got "
            f'{positive!r}. Change it.'
        )


def _load_torchmetrics():
    try:
        from torchmetrics.functional.classification import (
            binary_auroc,
            binary_average_precision,
        )
    except ImportError as error:
        raise ImportError(
            'AUROC and AUPR are computed by torchmetrics, which is not '
            'installed. Install it with `pip install "mmanchor[eval]"`.'
        ) from error
    return binary_auroc, binary_average_precision


@METRICS.register_module()
class AnomalyRejection(PerImageMetric):
    """:func:`anomaly_rejection`, as ``ood/energy_auroc`` and so on.

    Images whose label is below 0 are out of distribution: see
    :class:`~mmanchor.datasets.MarkOutOfDistribution`.

    Args:
        scores (str | Sequence[str]): One or more of ``'energy'``,
            ``'max_logit'``, ``'msp'`` (the order of the largest probability,
            negated; saturated ones are told apart by their logits),
            ``'entropy'`` (of ``pred_score``), ``'spread'`` (of the logits
            over references, mean over classes), ``'anchor_score'`` (AMP),
            ``'mutual_information'`` and ``'predictive_entropy'`` (where
            predictions carry them), or detectors of pytorch-ood that need
            logits only. Defaults to ``'energy'``.
        positive (str): See :func:`anomaly_rejection`. Defaults to ``'ood'``.
        collect_device (str): As for MMEngine's metrics.
        prefix (str, optional): As for MMEngine's metrics.

    Raises:
        ImportError: torchmetrics is not installed, or pytorch-ood where it
            is needed.
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
                "got none. Change it to 'energy', for example."
            )
        _check_positive(positive)
        _load_torchmetrics()  # say now what is missing, not after training
        self.scores = {name: find_score(name) for name in names}
        self.positive = positive

    def numbers(self, batch):
        """See :class:`~mmanchor.evaluation.PerImageMetric`."""
        columns = [batch.labels < 0]
        for score in self.scores.values():
            values = batch[score.field]
            columns.append(marked(score.function(values.double()), values))
        return columns

    def of_images(self, is_ood, *columns):
        """All three numbers for each score, over all images."""
        return {
            f'{name}_{key}': value
            for name, column in zip(self.scores, columns)
            for key, value in anomaly_rejection(
                column, is_ood, self.positive
            ).items()
        }
