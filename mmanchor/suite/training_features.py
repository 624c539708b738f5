"""Features of training images, which some anomaly scores are fitted on."""

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from ..datasets.cached_features import (
    compute_features,
    read_features,
    write_features,
)
from ..engine.reference_source import training_set
from ..evaluation.feature_scores import fit_feature_score, last_layer_of
from ..functional import anchor
from ..models import AnchoredImageClassifier
from ..utils.config import scope_of
from .candidates import Candidate, LoadedModel
from .measure import plain_logits
from .model_scores import FeatureScores, features_of, vectors_of
from .spec import Settings

SEED = 0  # for drawing training images


class TrainingFeatures(NamedTuple):
    """Features of some training images.

    Attributes:
        features (torch.Tensor): (N, D), float32.
        labels (torch.Tensor): (N,), int64.
        last_layer (str, optional): The name of the layer of the head that
            computes logits from features; None if it takes several layers.
    """

    features: torch.Tensor
    labels: torch.Tensor
    last_layer: str | None


def features_file(candidate: Candidate, settings: Settings) -> Path:
    """The file that features are saved in, beside the checkpoint.

    Its name has 16 digits of the SHA-256 of the checkpoint, and 8 of a hash
    of everything else that the features depend on: the model, pipeline,
    references and training set of the config, the share of the training set,
    and the precision.
    """
    text = json.dumps(_made_from(candidate, settings), sort_keys=True)
    digest = hashlib.sha256(text.encode()).hexdigest()
    return (
        Path(candidate.checkpoint).parent
        / f'features_{candidate.sha256[:16]}_{digest[:8]}.npz'
    )


def training_features(
    candidate: Candidate,
    loaded: LoadedModel,
    settings: Settings,
    report: Callable[[float], None] = lambda share: None,
) -> TrainingFeatures:
    """Read or compute the features of a share of the training images.

    They are saved beside the checkpoint. If that folder can't be written to,
    the next run computes them again.

    Args:
        candidate (Candidate): The model, whose config has the training set.
        settings (Settings): ``fit_share`` of the images are drawn.
        report (Callable): Called with the share of the work that is done.

    Raises:
        TypeError: See :func:`~.model_scores.features_of`.
        ValueError: The file belongs to another checkpoint, or the training
            set can't be read, or has images without exactly one label.
    """
    path = features_file(candidate, settings)
    made_from = _made_from(candidate, settings)
    cached = read_features(path, made_from)
    if cached is not None:
        return TrainingFeatures(
            torch.from_numpy(cached['features']),
            torch.from_numpy(cached['labels']),
            json.loads(str(cached['last_layer'])),
        )
    found = _compute(candidate, loaded, settings, report)
    write_features(
        path,
        made_from,
        features=found.features.numpy(),
        labels=found.labels.numpy(),
        last_layer=json.dumps(found.last_layer),
    )
    return found


def fit_feature_scores(
    names: Sequence[str],
    loaded: LoadedModel,
    training: TrainingFeatures,
    failed: Callable[[str, Exception], None],
) -> FeatureScores:
    """Fit scores of features.

    Args:
        names (Sequence[str]): Names in ``FEATURE_SCORES``.
        failed (Callable): Called with the name of each score that can't be
            fitted, and the error.
    """
    head = loaded.model.head
    num_classes = getattr(head, 'num_classes', None)
    num_classes = num_classes or int(training.labels.max()) + 1
    layer = (
        None
        if training.last_layer is None
        else head.get_submodule(training.last_layer)
    )
    fitted = {}
    for name in names:
        try:
            fitted[name] = fit_feature_score(
                name, training.features, training.labels, num_classes, layer
            )
        except ValueError as error:
            failed(name, error)
    return fitted


@torch.no_grad()
def _last_layer(model, images: torch.Tensor) -> str | None:
    """Find the layer of the head that computes logits from features."""
    images = model.data_preprocessor(dict(inputs=images[:8]))['inputs']
    if isinstance(model, AnchoredImageClassifier):
        # one reference for each image: protocols average in different ways
        rows = anchor(images, images.roll(1, 0))
        logits = model.reference_logits(rows)[0]
    else:
        rows, logits = images, plain_logits(model, images)
    features = model.extract_feat(rows, stage='pre_logits')
    return last_layer_of(model.head, vectors_of(model, features), logits)


def _made_from(candidate: Candidate, settings: Settings) -> dict:
    return dict(
        candidate.settings,
        share=settings.fit_share,
        seed=SEED,
        amp=settings.amp,
    )


def _compute(candidate, loaded, settings, report) -> TrainingFeatures:
    with scope_of(candidate.cfg):
        dataset = training_set(candidate.cfg)
    count = len(dataset)
    drawn = np.random.default_rng(SEED).permutation(count)
    drawn = np.sort(drawn[: max(1, round(settings.fit_share * count))])
    device = torch.device(settings.device).type
    layers: list[str | None] = []

    def features(images: torch.Tensor) -> torch.Tensor:
        if not layers:
            layers.append(_last_layer(loaded.model, images))
        with torch.autocast(device, enabled=settings.amp):
            return features_of(loaded.model, images)

    found = compute_features(
        dataset,
        drawn.tolist(),
        features,
        settings.batch_size,
        settings.workers,
        report,
    )
    return TrainingFeatures(*found, layers[0])
