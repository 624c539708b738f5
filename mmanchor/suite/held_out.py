"""Fits temperatures, prediction sets and thresholds on held-out images."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import NamedTuple

import torch

from ..evaluation import (
    PerImageMetric,
    PredictionSetMetric,
    SelectiveError,
    find_threshold,
    fit_prediction_sets,
)
from ..evaluation.prediction_sets import METHODS
from ..functional import VectorScaling, fit_temperature, fit_vector_scaling
from .spec import Settings

# a temperature, which divides logits, or vector scaling
Scaling = float | VectorScaling


class HeldOutFit(NamedTuple):
    """A scaling of logits, with what is fitted to the scaled probabilities.

    Attributes:
        scaling (Scaling): How logits are scaled; 1.0 leaves them unchanged.
        suffix (str): What the report appends to the name of the model.
        metrics (Dict[str, PerImageMetric]): The metrics of prediction sets
            and of the threshold that are fitted to these probabilities.
        decisions (dict): The ``prediction_sets`` and the ``abstention`` of
            ``results.json``.
    """

    scaling: Scaling = 1.0
    suffix: str = ''
    metrics: dict[str, PerImageMetric] = {}
    decisions: dict = {}

    @property
    def entry(self) -> tuple[str, dict]:
        """The scaling's key in ``results.json``, and its fitted numbers."""
        if isinstance(self.scaling, VectorScaling):
            parts = self.scaling._asdict().items()
            return 'vector_scaling', {key: one.tolist() for key, one in parts}
        return 'temperature', dict(temperature=self.scaling)


def scaled(logits: torch.Tensor, scaling: Scaling) -> torch.Tensor:
    """Scale logits by a temperature or by vector scaling.

    Example:
        >>> scaled(torch.tensor([[4.0, 2.0]]), 2.0)
        tensor([[2., 1.]])
    """
    if isinstance(scaling, VectorScaling):
        return scaling.apply(logits)
    return logits / scaling


def fit_held_out(
    logits: torch.Tensor,
    labels: torch.Tensor,
    settings: Settings,
    attempt: Callable,
) -> list[HeldOutFit]:
    """Fit everything that the settings ask for to held-out images.

    Args:
        logits (torch.Tensor): Logits after averaging over references.
        labels (torch.Tensor): Labels.
        settings (Settings): What to fit.
        attempt (Callable): Takes words about a fit, a function that fits and
            its arguments. If the function fails, it records why and returns
            None.

    Shape:
        - logits: (N, num_classes)
        - labels: (N,)

    Returns:
        List[HeldOutFit]: The model without scaling; and with a temperature
        and with vector scaling, if they could be fitted.
    """
    fits = [HeldOutFit()]
    if settings.temperature:
        temperature = attempt(
            'temperature on ', fit_temperature, logits, labels
        )
        if temperature is not None:
            fits.append(HeldOutFit(temperature, f', T = {temperature:.2f}'))
    if settings.vector_scaling:
        vector = attempt(
            'vector scaling on ', fit_vector_scaling, logits, labels
        )
        if vector is not None:
            fits.append(HeldOutFit(vector, ', vector scaling'))
    return [
        _with_decisions(one, logits, labels, settings, attempt) for one in fits
    ]


def _with_decisions(
    fit: HeldOutFit, logits, labels, settings: Settings, attempt
) -> HeldOutFit:
    probabilities = scaled(logits.float(), fit.scaling).softmax(1)
    metrics: dict[str, PerImageMetric] = {}
    decisions: dict[str, dict] = {}
    if settings.coverage is not None:
        for method in METHODS:
            sets = attempt(
                f'prediction sets ({method.upper()}) on ',
                fit_prediction_sets,
                probabilities,
                labels,
                settings.coverage,
                method,
            )
            if sets is not None:
                metrics[method] = PredictionSetMetric(sets)
                of_method = decisions.setdefault('prediction_sets', {})
                of_method[method] = asdict(sets)
    if settings.max_error is not None:
        confidence, predicted = probabilities.max(1)
        threshold = attempt(
            'threshold on ',
            find_threshold,
            confidence.numpy(),
            (predicted != labels).numpy(),
            settings.max_error,
        )
        if threshold is not None:
            metrics['trusted'] = SelectiveError(threshold)
            decisions['abstention'] = asdict(threshold)
    return fit._replace(metrics=metrics, decisions=decisions)


def fits_as_json(fits: Sequence[HeldOutFit]) -> list:
    """Everything about fits that the result of a pass depends on."""
    return [
        [
            one.scaling
            if isinstance(one.scaling, float)
            else [part.tolist() for part in one.scaling],
            one.decisions,
        ]
        for one in fits
    ]
