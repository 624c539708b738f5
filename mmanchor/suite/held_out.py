"""What is fitted on the clean images that are held out."""

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
from .settings import Settings

# what logits are divided by, or what becomes of them class by class
Scaling = float | VectorScaling


class HeldOutAnswers(NamedTuple):
    """What a model answers on held-out images.

    Attributes:
        logits (torch.Tensor): Whose softmax is the prediction, after
            averaging over references; (N, num_classes).
        labels (torch.Tensor): (N,).
    """

    logits: torch.Tensor
    labels: torch.Tensor


class HeldOutFit(NamedTuple):
    """One way to make probabilities from logits, and what is made of them.

    Attributes:
        scaling (Scaling): What is done with logits; 1.0 leaves them.
        suffix (str): What the name of the model has after it.
        metrics (Dict[str, PerImageMetric]): Of prediction sets and of the
            threshold, fitted for these probabilities.
        facts (dict): What the results say of it.
    """

    scaling: Scaling = 1.0
    suffix: str = ''
    metrics: dict[str, PerImageMetric] = {}
    facts: dict = {}


def scaled(logits: torch.Tensor, scaling: Scaling) -> torch.Tensor:
    """Logits after a temperature, or after vector scaling.

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
    """Fit all that settings ask for.

    Args:
        answers (HeldOutAnswers): Of the model.
        settings (Settings): See there.
        attempt (Callable): Takes what is fitted, in words, and a function;
            notes where that fails and gives None then.

    Returns:
        List[HeldOutFit]: The model as it is, and what could be fitted of a
        temperature and a vector.
    """
    found = [HeldOutFit()]
    if settings.temperature:
        temperature = attempt(
            'temperature', partial(fit_temperature, *answers)
        )
        if temperature is not None:
            found.append(
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
            found.append(HeldOutFit(vector, ', vector scaling', facts=facts))
    return [_with_metrics(one, answers, settings, attempt) for one in found]


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


def of_images(fits: Sequence[HeldOutFit]) -> list:
    """What decides the figures of a pass, for the names of parts."""
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
