"""Anomaly scores that take the model, and not its predictions alone."""

from collections.abc import Callable, Sequence
from functools import cached_property

import torch
from torch import nn

from ..evaluation.feature_scores import FEATURE_SCORES, import_detectors
from ..evaluation.metrics.anomaly_rejection import AnomalyScore, find_score
from ..models import bank_labels, reverse_anchoring
from .ensembles import EnsembleCandidate

FeatureScores = dict[str, Callable[[torch.Tensor], torch.Tensor]]

# made from the (B, K) that `mmanchor.models.reverse_anchoring` returns
REVERSE_SCORES = {
    'reverse_anchoring': AnomalyScore(
        'reverse_anchoring', lambda values: values.amax(-1)
    ),
    'reverse_anchoring_mean': AnomalyScore(
        'reverse_anchoring', lambda values: values.mean(-1)
    ),
}


def find_suite_score(name: str) -> AnomalyScore:
    """A score by name, of those that only a suite can compute as well.

    Args:
        name (str): One that :func:`~mmanchor.evaluation.find_score` knows, of
            ``FEATURE_SCORES`` or of ``REVERSE_SCORES``.

    Raises:
        ImportError: It is one of pytorch-ood's, which is not installed.
        ValueError: There is no such score.

    Example:
        >>> find_suite_score('reverse_anchoring').function(
        ...     torch.tensor([[0.5, 2.0]])
        ... )
        tensor([2.])
    """
    if name in REVERSE_SCORES:
        return REVERSE_SCORES[name]
    if name in FEATURE_SCORES:
        import_detectors()
        return AnomalyScore(name, lambda values: values)
    try:
        return find_score(name)
    except ValueError as error:
        raise ValueError(
            f'{error} Suites know '
            f'{", ".join([*FEATURE_SCORES, *REVERSE_SCORES])} as well.'
        ) from error


def can_have(candidate, name: str) -> bool:
    """Whether a model can have a score, as far as its kind decides.

    Features and reference banks of several models are not averaged, so
    ensembles have no scores made from them.
    """
    if isinstance(candidate, EnsembleCandidate):
        return name not in FEATURE_SCORES and name not in REVERSE_SCORES
    return name not in REVERSE_SCORES or candidate.hook is not None


def check_scores(candidates: Sequence, names: Sequence[str]) -> None:
    """Refuse scores that none of the models can have.

    Raises:
        ValueError: There is one.
    """
    for name in names:
        if not any(can_have(one, name) for one in candidates):
            kind = 'an anchored model' if name in REVERSE_SCORES else 'a model'
            raise ValueError(
                f'Expected {kind} that is no ensemble for the score {name}, '
                f'but got {", ".join(one.name for one in candidates)}. Leave '
                'it out of --scores, or name such a model.'
            )


class ModelFields:
    """What the scores of this module are made from, for a batch.

    Args:
        model (torch.nn.Module): A host classifier, anchored or not.
        names (Sequence[str]): All scores that are wanted.
        feature_scores (dict): Those of features, fitted, by name.
    """

    def __init__(
        self,
        model: nn.Module,
        names: Sequence[str],
        feature_scores: FeatureScores | None = None,
    ):
        self.model = model
        self.feature_scores = {
            name: score
            for name, score in (feature_scores or {}).items()
            if name in names
        }
        self.reverses = any(name in REVERSE_SCORES for name in names)

    @cached_property
    def _labels(self) -> torch.Tensor:
        return bank_labels(self.model)

    @torch.no_grad()
    def __call__(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        """The fields, by name; empty where no score needs one.

        Shape:
            - images: (B, C, H, W), as the test pipeline packs them
            - output: (B,) of each score of features, and
              ``reverse_anchoring``, (B, K)
        """
        fields = {}
        if self.feature_scores:
            features = features_of(self.model, images)
            for name, score in self.feature_scores.items():
                fields[name] = score(features)
        if self.reverses:
            normalised = self.model.data_preprocessor(dict(inputs=images))
            fields['reverse_anchoring'] = reverse_anchoring(
                self.model, normalised['inputs'], self._labels
            )
        return fields


@torch.no_grad()
def features_of(model: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """What the last layer sees; of anchored models the mean over references.

    Args:
        model (torch.nn.Module): A host classifier, in evaluation mode.
        images (torch.Tensor): As the test pipeline packs them.

    Shape:
        - images: (B, C, H, W)
        - output: (B, D), float32

    Raises:
        TypeError: The head gives several tensors, or others than vectors.
    """
    images = model.data_preprocessor(dict(inputs=images))['inputs']
    return vectors_of(model, model.extract_feat(images, stage='pre_logits'))


def vectors_of(model: nn.Module, found) -> torch.Tensor:
    """Features before the logits as one vector an image, (B, D), float32.

    Raises:
        TypeError: They are several tensors, or others than vectors.
    """
    if isinstance(found, (tuple, list)) and len(found) == 1:
        (found,) = found
    if not isinstance(found, torch.Tensor) or found.dim() != 2:
        raise TypeError(
            'Expected a head with one vector of features an image for scores '
            f'of features, but got {type(model.head).__name__}, which has '
            'several or a map. Leave these scores out.'
        )
    return found.float()
