"""Accuracy of a model whose weights are moved, on a grid of two directions."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from ..checkpoints.safe_loading import load_checkpoint
from ..functional import moved_weights, random_direction
from ..models import AnchoredImageClassifier
from ..suite.cache import Parts
from ..suite.candidates import Candidate, Ready
from ..suite.corrupted_sets import describe_corruptions
from ..suite.images import ImageBatches
from ..suite.predict import predict_batch
from ..suite.settings import Settings
from ..suite.spec import Suite
from .cells import StudyCell
from .data_root import with_data_root
from .measure import Bench, weights_of

SEEDS = (0, 1)  # of the two directions
_NORMS = (_NormBase, nn.LayerNorm, nn.GroupNorm)


def measure_landscape(
    cell: StudyCell,
    checkpoints: Sequence[str],
    bench: Bench,
    folder: Path,
    report: Callable[[float], None],
) -> dict:
    """Measure how accuracy falls off around a cell's weights.

    A row of the grid is kept as soon as it is measured.

    Args:
        cell (StudyCell): Any.
        checkpoints (Sequence[str]): Its model's, which is one.
        bench (Bench): The suite whose shifted set it is measured on.
        folder (Path): Where rows are kept.
        report (Callable): Told how much is done, from 0 to 1.

    Returns:
        dict: See :func:`~mmanchor.studies.measure.measure_by_suite`;
        ``model`` has a ``landscape``.

    Raises:
        FileNotFoundError: The shifted set is not there.
        ValueError: The checkpoint is not the config's, or of no trained
            model.
    """
    of = cell.study.landscape
    settings = bench.settings
    cfg = with_data_root(cell.test_config, bench.data_root)
    (checkpoint,) = checkpoints
    ready = load_trained(cfg, checkpoint, settings.device)
    images, labels = _images(
        bench.suite, cell.study.on.shifted, of.images, ready, settings
    )
    steps = np.linspace(-of.reach, of.reach, of.points).tolist()
    parts, weights = (
        Parts(folder / 'parts'),
        weights_of(cell.training, checkpoint),
    )
    found, done = {}, 0
    for normalise in of.normalise:
        rows = []
        for second in steps:
            depends = dict(
                cell.depends, weights=weights, row=second, normal=normalise
            )
            row = parts.get('landscape', depends)
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
                parts.keep('landscape', depends, *row)
            rows.append(row[0]['accuracy'])
            done += 1
            report(done / (len(steps) * len(of.normalise)))
        found['normalised' if normalise else 'raw'] = rows
    return dict(
        model=dict(landscape=dict(steps=steps, **found)),
        missing=[],
        failed=[],
        corruptions=describe_corruptions(bench.suite),
        weights=weights,
        times={},
    )


def load_trained(
    cfg: Config, checkpoint: str | None, device: str = 'cpu'
) -> Ready:
    """A model with trained weights, or none.

    Raises:
        ValueError: There are no weights to load, or nothing says that they
            were trained.
    """
    if checkpoint is None:
        raise ValueError(
            'Expected a checkpoint for a landscape, which is that of trained '
            'weights, but got none. Train first, or name one.'
        )
    ready = Candidate('landscape', cfg, checkpoint, 'the config').load(device)
    saved = load_checkpoint(checkpoint)
    if not _was_trained(ready.model, saved.get('meta') or {}):
        raise ValueError(
            f'Expected trained weights for a landscape, but {checkpoint} has '
            'no sign of training: its `meta` tells of no iteration, no batch '
            'went through a BatchNorm layer, and all norm layers scale and '
            'shift as a new one does. Name the checkpoint of a trained model.'
        )
    return ready


def _was_trained(model: nn.Module, meta: dict) -> bool:
    """Whether anything says so.

    MMEngine counts the epoch it saves in, done or not; iterations decide.
    """
    norms = [one for one in model.modules() if isinstance(one, _NORMS)]
    return bool(
        meta.get('iter', meta.get('epoch', 0))
        or any(getattr(one, 'num_batches_tracked', None) for one in norms)
        # of a new layer, all channels are alike
        or any(
            values is not None and (values != values.flatten()[0]).any()
            for one in norms
            for values in (one.weight, one.bias)
        )
    )


@torch.no_grad()
def accuracies(
    model: nn.Module,
    images: list[torch.Tensor],
    labels: torch.Tensor,
    places: list[tuple[float, float]],
    normalise: bool,
    amp: bool = False,
) -> list[float]:
    """Top-1 accuracy in % with weights moved to some places.

    The model's weights are as before afterwards.

    Args:
        model (torch.nn.Module): A classifier in evaluation mode.
        images (List[torch.Tensor]): Batches, as the test pipeline packs them.
        labels (torch.Tensor): Of all of them, (N,).
        places (List[Tuple[float, float]]): Steps in either direction.
        normalise (bool): See
            :func:`~mmanchor.functional.landscape.random_direction`.
        amp (bool): Mixed precision. Defaults to False.
    """
    weights = {
        name: parameter.detach().clone()
        for name, parameter in model.named_parameters()
    }
    directions = directions_of(model, normalise)
    found = []
    try:
        for steps in places:
            _put(model, moved_weights(weights, directions, steps))
            answers = []
            for batch in images:
                with torch.autocast(
                    next(iter(weights.values())).device.type, enabled=amp
                ):
                    scores = predict_batch(model, batch)['answer']
                answers.append(scores.float().argmax(1).cpu())
            right = torch.cat(answers) == labels
            found.append(100 * right.double().mean().item())
    finally:
        _put(model, weights)
    return found


def directions_of(
    model: nn.Module, normalise: bool
) -> list[dict[str, torch.Tensor]]:
    """The two directions of a model.

    Models of one architecture share what is drawn, anchored or not: all but
    that half of an anchored stem that reads references.

    Args:
        model (torch.nn.Module): A classifier.
        normalise (bool): See
            :func:`~mmanchor.functional.landscape.random_direction`.
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
        random_direction(weights, seed, normalise, widened) for seed in SEEDS
    ]


def _put(model: nn.Module, weights: dict) -> None:
    for name, parameter in model.named_parameters():
        parameter.copy_(weights[name])


def _images(
    suite: Suite, name: str, count: int, ready: Ready, settings: Settings
) -> tuple[list[torch.Tensor], torch.Tensor]:
    """Images of a shifted set, as many of each kind and severity."""
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
