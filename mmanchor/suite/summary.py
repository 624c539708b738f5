"""From what was measured, set by set, to what a paper's tables have."""

from collections.abc import Sequence
from statistics import mean, stdev

import numpy as np
import torch

from ..engine.batch_figure import number_of_bins
from ..evaluation.confidence_intervals import auroc_interval
from ..evaluation.metrics.anomaly_rejection import anomaly_rejection
from ..evaluation.metrics.corruption_error import mean_corruption_error
from .report.reading import ece_of_bins
from .spec import GROUPS, SuiteSet

Figures = dict[str, float | None]
ROC_POINTS = 101
# of an anomaly score on a set, or the mean over sets
REJECTION = ('auroc', 'auroc_low', 'auroc_high', 'aupr', 'fpr95')


def mean_figures(figures: list[Figures]) -> Figures:
    """The mean of each figure; None where one has none.

    The same images are in all corrupted sets, so what is random in the
    figures is not independent. The means of the ends of their intervals are
    an interval that is wide enough however strongly they depend on each
    other: a standard deviation of a mean is at most the mean of standard
    deviations.

    Example:
        >>> mean_figures(
        ...     [dict(top1=90.0, spread=None), dict(top1=80.0, spread=None)]
        ... )
        {'top1': 85.0, 'spread': None}
    """
    return {
        key: None
        if any(one[key] is None for one in figures)
        else mean(one[key] for one in figures)
        for key in figures[0]
    }


def summarise_shift(cells: dict[tuple, dict]) -> dict:
    """One model on one shifted set.

    Args:
        cells (Dict[tuple, dict]): ``figures`` and ``reliability`` by kind
            and severity; by (None, None) where a set has neither.

    Returns:
        dict: ``mean`` over kinds, then severities; ``by_severity``,
        ``by_kind`` and ``cells``, None where a set has neither;
        ``num_images`` of each kind and severity; and ``reliability`` and
        ``ece_pooled`` over all images together.
    """
    found = {key: cell['figures'] for key, cell in cells.items()}
    pooled = reliability([cell['reliability'] for cell in cells.values()])
    common = dict(
        num_images=next(iter(cells.values())).get('num_images'),
        reliability=pooled,
        ece_pooled=ece_of_bins(pooled),
    )
    if (None, None) in found:
        return dict(
            mean=found[None, None],
            by_severity=None,
            by_kind=None,
            cells=None,
            **common,
        )
    kinds = list(dict.fromkeys(kind for kind, _ in found))
    severities = sorted({severity for _, severity in found})
    by_severity = {
        str(severity): mean_figures([found[kind, severity] for kind in kinds])
        for severity in severities
    }
    return dict(
        mean=mean_figures(list(by_severity.values())),
        by_severity=by_severity,
        by_kind={
            kind: mean_figures([found[kind, one] for one in severities])
            for kind in kinds
        },
        cells={
            kind: {str(one): found[kind, one] for one in severities}
            for kind in kinds
        },
        **common,
    )


def reliability(parts: list[dict[str, list]]) -> dict:
    """Bins of confidence, over several sets of images.

    Returns:
        dict: ``edges``; and of each bin the ``count`` of images, their mean
        ``confidence`` and ``accuracy`` in [0, 1], None where it has none.
    """
    total = {
        key: np.sum([part[key] for part in parts], 0)
        for key in ('count', 'confidence', 'right')
    }
    count = total['count']

    def share(of):
        return [
            float(value / number) if number else None
            for value, number in zip(total[of], count)
        ]

    return dict(
        edges=np.linspace(0, 1, len(count) + 1).tolist(),
        count=count.astype(int).tolist(),
        confidence=share('confidence'),
        accuracy=share('right'),
    )


def smooth_ece_over_sets(shifts: dict[str, dict]) -> dict | None:
    """Mean and sample standard deviation of smECE over shifted sets."""
    values = [one['mean']['smooth_ece'] for one in shifts.values()]
    if not values:
        return None
    return dict(
        mean=mean(values), std=stdev(values) if len(values) > 1 else None
    )


def relative_to_alexnet(shift: dict) -> float:
    """mCE, in %, of a set summarised by kind.

    Raises:
        ValueError: It lacks one of the 15 kinds.
    """
    return mean_corruption_error(
        {kind: 100 - one['top1'] for kind, one in shift['by_kind'].items()}
    )


def compare_scores(inside: np.ndarray, outside: np.ndarray) -> dict:
    """Anomaly rejection by one score, with what its figures are drawn from.

    Args:
        inside (np.ndarray): Scores of images in distribution.
        outside (np.ndarray): Scores of images out of it.

    Shape:
        - inside: (N,)
        - outside: (M,)

    Returns:
        dict: ``auroc`` with the ends of its interval, ``auroc_low`` and
        ``auroc_high``; ``aupr``, ``fpr95``; ``roc``: 101 points of ``fpr``
        and ``tpr``; ``histogram``: ``edges`` and counts ``in`` and ``out``,
        those beyond the 0.5th and 99.5th percentile in the outermost bins.
    """
    both = np.concatenate([inside, outside])
    is_out = np.arange(len(both)) >= len(inside)
    found = anomaly_rejection(torch.from_numpy(both), torch.from_numpy(is_out))
    low, high = auroc_interval(inside, outside) or (None, None)
    found.update(auroc_low=low, auroc_high=high)
    # from above all to below all, in equal steps of the false positives
    thresholds = np.quantile(inside, np.linspace(1, 0, ROC_POINTS))
    fpr = [float((inside >= one).mean()) for one in thresholds]
    tpr = [float((outside >= one).mean()) for one in thresholds]
    low, high = np.quantile(both, [0.005, 0.995])
    edges = np.linspace(
        low,
        high if high > low else low + 1,
        number_of_bins(min(len(inside), len(outside))) + 1,
    )
    counts = [
        np.histogram(side.clip(edges[0], edges[-1]), edges)[0].tolist()
        for side in (inside, outside)
    ]
    return dict(
        **found,
        roc=dict(fpr=[0.0, *fpr[1:]], tpr=[_above(outside, inside), *tpr[1:]]),
        histogram=dict(
            edges=edges.tolist(), **{'in': counts[0], 'out': counts[1]}
        ),
    )


def mean_by_group(
    measured: dict[str, dict], sets: Sequence[SuiteSet]
) -> dict[str, dict]:
    """Anomaly rejection, mean over the near sets and over the far ones.

    Args:
        measured (Dict[str, dict]): By set, what :class:`CandidateRun` found:
            ``scores``.
        sets (Sequence[SuiteSet]): All that are there. A model that could not
            be measured on one of a group has no mean of that group, which
            would not compare with those of other models.

    Returns:
        dict: By group, those without sets left out: the names of its
        ``sets``, and ``scores``, the mean figures of each.
    """
    found = {}
    for group in GROUPS:
        names = [one.name for one in sets if one.group == group]
        scores = [(measured.get(one) or {}).get('scores', {}) for one in names]
        if names:
            found[group] = dict(
                sets=names,
                scores={
                    score: mean_figures(
                        [
                            {key: one[score][key] for key in REJECTION}
                            for one in scores
                        ]
                    )
                    for score in scores[0]
                    if all(score in one for one in scores)
                },
            )
    return found


def _above(outside, inside) -> float:
    return float((outside > inside.max()).mean())
