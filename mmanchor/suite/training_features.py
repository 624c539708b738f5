"""Features of training images, which some anomaly scores are fitted on."""

import hashlib
import json
import zipfile
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from ..engine.reference_source import training_set
from ..evaluation.feature_scores import fit_feature_score, last_layer_of
from ..functional import anchor
from ..models import AnchoredImageClassifier
from ..utils.config import scope_of
from ..utils.files import whole_files
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

    Args:
        candidate (Candidate): The model.
        settings (Settings): The share and the precision.
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
        loaded (LoadedModel): The same model, loaded.
        settings (Settings): ``fit_share`` of the images are drawn.
        report (Callable): Called with the share of the work that is done.

    Raises:
        TypeError: See :func:`~.model_scores.features_of`.
        ValueError: The file belongs to another checkpoint, or the training
            set can't be read, or has images without exactly one label.
    """
    path = features_file(candidate, settings)
    features = _read(path, _made_from(candidate, settings))
    if features is None:
        features = _compute(candidate, loaded, settings, report)
        _write(path, _made_from(candidate, settings), features)
    return features


def fit_feature_scores(
    names: Sequence[str],
    loaded: LoadedModel,
    training: TrainingFeatures,
    failed: Callable[[str, Exception], None],
) -> FeatureScores:
    """Fit scores of features.

    Args:
        names (Sequence[str]): Names in ``FEATURE_SCORES``.
        loaded (LoadedModel): The model.
        training (TrainingFeatures): The features of its training images.
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


def _read(path: Path, made_from: dict) -> TrainingFeatures | None:
    """Read a file; None if it is missing or damaged."""
    try:
        with np.load(path, allow_pickle=False) as file:
            known = json.loads(str(file['made_from']))
            features, labels = file['features'], file['labels']
            layer = json.loads(str(file['last_layer']))
    except (
        OSError,
        EOFError,
        KeyError,
        ValueError,
        zipfile.BadZipFile,
        zlib.error,
    ):
        return None
    if known != made_from:
        raise ValueError(
            f'Expected {path} to hold features of the checkpoint with SHA-256 '
            f'{made_from["checkpoint"]}, with this config, but got those of '
            f'{known.get("checkpoint")}. Remove the file, and they are '
            'computed again.'
        )
    return TrainingFeatures(
        torch.from_numpy(features), torch.from_numpy(labels), layer
    )


def _write(path: Path, made_from: dict, training: TrainingFeatures) -> None:
    try:
        with whole_files(path.parent) as partial:
            np.savez(
                partial / path.name,
                made_from=json.dumps(made_from),
                features=training.features.numpy(),
                labels=training.labels.numpy(),
                last_layer=json.dumps(training.last_layer),
            )
    except (OSError, ValueError):
        pass  # this run has the features in memory


def _compute(candidate, loaded, settings, report) -> TrainingFeatures:
    with scope_of(candidate.cfg):
        dataset = training_set(candidate.cfg)
    count = len(dataset)
    drawn = np.random.default_rng(SEED).permutation(count)
    drawn = np.sort(drawn[: max(1, round(settings.fit_share * count))])
    device = torch.device(settings.device).type
    features, labels, layer = [], [], None
    with ThreadPoolExecutor(settings.workers) as readers:
        for start in range(0, len(drawn), settings.batch_size):
            rows = drawn[start : start + settings.batch_size].tolist()
            samples = list(readers.map(dataset.__getitem__, rows))
            labels += [_label_of(one['data_samples']) for one in samples]
            images = torch.stack([one['inputs'] for one in samples])
            if not start:
                layer = _last_layer(loaded.model, images)
            with torch.autocast(device, enabled=settings.amp):
                features.append(features_of(loaded.model, images).cpu())
            report((start + len(rows)) / len(drawn))
    return TrainingFeatures(torch.cat(features), torch.tensor(labels), layer)


def _label_of(sample) -> int:
    label = sample.get('gt_label')
    if label is None or len(label) != 1:
        raise ValueError(
            'Expected a training set with one label an image to fit scores of '
            f'features, but got {0 if label is None else len(label)}. Leave '
            'these scores out.'
        )
    return int(label)
