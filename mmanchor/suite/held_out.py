"""Fits temperatures, prediction sets and thresholds on held-out images."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
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
from ..functional import (
    VectorScaling,
    fit_temperature,
    fit_vector_scaling,
)
from .spec import Settings

# a temperature, which divides logits, or vector scaling
Scaling = float | VectorScaling


class HeldOutAnswers(NamedTuple):
    """The predictions of a model for held-out images.

    Attributes:
        logits (torch.Tensor): Logits after averaging over references,
            (N, num_classes).
        labels (torch.Tensor): Labels, (N,).
    """

    logits: torch.Tensor
    labels: torch.Tensor


class HeldOutFit(NamedTuple):
    """A scaling of logits, with what is fitted to the scaled probabilities.

    Attributes:
        scaling (Scaling): How logits are scaled; 1.0 leaves them unchanged.
        suffix (str): What the report appends to the name of the model.
        metrics (Dict[str, PerImageMetric]): The metrics of prediction sets
            and of the threshold that are fitted to these probabilities.
        facts (dict): The entries of ``results.json`` about the fits.
    """

    scaling: Scaling = 1.0
    suffix: str = ''
    metrics: dict[str, PerImageMetric] = {}
    facts: dict = {}


def scaled(logits: torch.Tensor, scaling: Scaling) -> torch.Tensor:
    """Scale logits by a temperature or by vector scaling.

    Args:
        logits (torch.Tensor): The logits.
        scaling (Scaling): How to scale them.

    Example:
        >>> scaled(torch.tensor([[4.0, 2.0]]), 2.0)
        tensor([[2., 1.]])
    """
    if isinstance(scaling, VectorScaling):
        return scaling.apply(logits)
    return logits / scaling


def fit_held_out(
    answers: HeldOutAnswers,
    settings: Settings,
    attempt: Callable[[str, Callable], object],
) -> list[HeldOutFit]:
    """Fit everything that the settings ask for.

    Args:
        answers (HeldOutAnswers): The predictions of the model.
        settings (Settings): What to fit.
        attempt (Callable): Takes the name of a fit and a function that fits.
            If the function fails, it records why and returns None.

    Returns:
        List[HeldOutFit]: The model without scaling; and with a temperature
        and with vector scaling, if they could be fitted.
    """
    fits = [HeldOutFit()]
    if settings.temperature:
        temperature = attempt(
            'temperature', partial(fit_temperature, *answers)
        )
        if temperature is not None:
            fits.append(
                HeldOutFit(
                    temperature,
                    f', T = {temperature:.2f}',
                    facts=dict(temperature=temperature),
                )
            )
    if settings.vector_scaling:
        vector = attempt(
            'vector scaling', partial(fit_vector_scaling, *answers)
        )
        if vector is not None:
            facts = dict(
                weight=vector.weight.tolist(), bias=vector.bias.tolist()
            )
            fits.append(HeldOutFit(vector, ', vector scaling', facts=facts))
    return [_with_metrics(one, answers, settings, attempt) for one in fits]


def _with_metrics(
    fit: HeldOutFit, answers: HeldOutAnswers, settings: Settings, attempt
) -> HeldOutFit:
    probabilities = scaled(answers.logits.float(), fit.scaling).softmax(1)
    metrics: dict[str, PerImageMetric] = {}
    facts = dict(fit.facts)
    if settings.coverage is not None:
        for method in METHODS:
            sets = attempt(
                f'prediction sets ({method.upper()})',
                partial(
                    fit_prediction_sets,
                    probabilities,
                    answers.labels,
                    settings.coverage,
                    method,
                ),
            )
            if sets is not None:
                metrics[method] = PredictionSetMetric(sets)
                facts.setdefault('prediction_sets', {})[method] = asdict(sets)
    if settings.max_error is not None:
        confidence, predicted = probabilities.max(1)
        threshold = attempt(
            'threshold',
            partial(
                find_threshold,
                confidence.numpy(),
                (predicted != answers.labels).numpy(),
                settings.max_error,
            ),
        )
        if threshold is not None:
            metrics['trusted'] = SelectiveError(threshold)
            facts['abstention'] = asdict(threshold)
    return fit._replace(metrics=metrics, facts=facts)


def fits_as_json(fits: Sequence[HeldOutFit]) -> list:
    """Everything about fits that the result of a pass depends on.

    Args:
        fits (Sequence[HeldOutFit]): The fits.
    """
    return [
        [
            one.scaling
            if isinstance(one.scaling, float)
            else [part.tolist() for part in one.scaling],
            {
                key: value
                for key, value in one.facts.items()
                if key in ('prediction_sets', 'abstention')
            },
        ]
        for one in fits
    ]
