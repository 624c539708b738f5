"""Accuracy around the weights of a model, in two random directions.

The weights are moved on a grid of steps in both directions; at each point,
the accuracy on images of the ground's shifted set is measured.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from ..functional import moved_weights, random_direction
from ..models import AnchoredImageClassifier
from ..suite.cache import ResultStore
from ..suite.candidates import LoadedModel
from ..suite.corrupted_sets import describe_corruptions
from ..suite.images import ImageBatches
from ..suite.measure import predict_batch
from ..suite.spec import Settings, Suite
from .cells import StudyCell
from .measure import Benchmark, weights_sha256

DIRECTION_SEEDS = (0, 1)


def measure_landscape(
    cell: StudyCell,
    checkpoints: Sequence[str],
    benchmark: Benchmark,
    folder: Path,
    report: Callable[[float], None],
) -> dict[str, Any]:
    """Measure the accuracy around the weights of a cell's model.

    Each row of the grid is stored once it is measured, so that a run that
    was stopped continues with the next row. Arguments and result are those of
    :func:`~mmanchor.studies.measure.measure_by_suite`, but ``model`` has a
    ``landscape``.

    Raises:
        FileNotFoundError: The shifted set is missing.
        ValueError: The checkpoint does not fit the config.
    """
    grid = cell.study.landscape
    settings = benchmark.settings
    ready = benchmark.candidate(cell, checkpoints).load(settings.device)
    images, labels = _shifted_images(
        benchmark.suite, cell.study.on.shifted, grid.images, ready, settings
    )
    steps = np.linspace(-grid.reach, grid.reach, grid.points).tolist()
    stored = ResultStore(folder / 'parts')
    weights = weights_sha256(cell.training, checkpoints[0])
    maps: dict[str, list] = {}
    num_rows, num_done = len(steps) * len(grid.normalise), 0
    for normalise in grid.normalise:
        rows = maps['normalised' if normalise else 'raw'] = []
        for second in steps:
            depends = dict(
                cell.depends, weights=weights, row=second, normal=normalise
            )
            row = stored.get('landscape', depends)
            if row is None:
                accuracy = accuracies(
                    ready.model,
                    images,
                    labels,
                    [(first, second) for first in steps],
                    normalise,
                    settings.amp,
                )
                row = (dict(accuracy=accuracy), {})
                stored.save('landscape', depends, *row)
            rows.append(row[0]['accuracy'])
            num_done += 1
            report(num_done / num_rows)
    return dict(
        model=dict(landscape=dict(steps=steps, **maps)),
        missing=[],
        failed=[],
        corruptions=describe_corruptions(benchmark.suite),
        weights=weights,
        times={},
    )


@torch.no_grad()
def accuracies(
    model: nn.Module,
    images: list[torch.Tensor],
    labels: torch.Tensor,
    points: list[tuple[float, float]],
    normalise: bool,
    amp: bool = False,
) -> list[float]:
    """Measure the top-1 accuracy, in %, with moved weights.

    The model's own weights are restored afterwards.

    Args:
        model (torch.nn.Module): A classifier in evaluation mode.
        images (List[torch.Tensor]): Batches, as the test pipeline packs them.
        labels (torch.Tensor): The labels of all images.
        points (List[Tuple[float, float]]): Steps in both directions.
        normalise (bool): See
            :func:`~mmanchor.functional.landscape.random_direction`.
        amp (bool): Whether to use mixed precision. Defaults to False.
    """
    weights = {
        name: parameter.detach().clone()
        for name, parameter in model.named_parameters()
    }
    device = next(iter(weights.values())).device.type
    directions = directions_of(model, normalise)
    percentages = []
    try:
        for steps in points:
            _set_weights(model, moved_weights(weights, directions, steps))
            predicted = []
            for batch in images:
                with torch.autocast(device, enabled=amp):
                    scores = predict_batch(model, batch)['answer']
                predicted.append(scores.float().argmax(1).cpu())
            is_right = torch.cat(predicted) == labels
            percentages.append(100 * is_right.double().mean().item())
    finally:
        _set_weights(model, weights)
    return percentages


def directions_of(
    model: nn.Module, normalise: bool
) -> list[dict[str, torch.Tensor]]:
    """Draw the two directions of a model.

    Models of one architecture share their directions, anchored or not,
    except for the half of an anchored stem that reads references.
    """
    widened = (
        [f'{name}.weight' for name in model.widened_layers]
        if isinstance(model, AnchoredImageClassifier)
        else []
    )
    weights = {
        name: parameter.detach()
        for name, parameter in model.named_parameters()
    }
    return [
        random_direction(weights, seed, normalise, widened)
        for seed in DIRECTION_SEEDS
    ]


def _set_weights(model: nn.Module, weights: dict) -> None:
    for name, parameter in model.named_parameters():
        parameter.copy_(weights[name])


def _shifted_images(
    suite: Suite, name: str, count: int, ready: LoadedModel, settings: Settings
) -> tuple[list[torch.Tensor], torch.Tensor]:
    """Draw as many images of each kind and severity of a shifted set.

    Returns their batches, and the labels of all.
    """
    cells = list(next(one for one in suite.shifts if one.name == name).cells())
    images, labels = [], []
    rng = np.random.default_rng(0)
    for cell in cells:
        batches = ImageBatches(
            cell, ready.pipeline, settings.batch_size, settings.workers
        )
        size = min(len(batches), -(-count // len(cells)))
        batches.select(np.sort(rng.choice(len(batches), size, replace=False)))
        images += list(batches)
        labels.append(batches.labels)
    together = torch.cat(images).to(settings.device)
    return list(together.split(settings.batch_size)), torch.cat(labels)
