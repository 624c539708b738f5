"""Anomaly scores that need the model: of features, and reverse anchoring."""

from collections.abc import Callable, Sequence
from functools import cached_property

import torch
from torch import nn

from ..evaluation.feature_scores import FEATURE_SCORES, import_detectors
from ..evaluation.metrics.anomaly_rejection import AnomalyScore, find_score
from ..models import bank_labels, reverse_anchoring

FeatureScores = dict[str, Callable[[torch.Tensor], torch.Tensor]]

# computed from the (B, K) that `mmanchor.models.reverse_anchoring` returns
REVERSE_SCORES = {
    'reverse_anchoring': AnomalyScore(
        'reverse_anchoring', lambda values: values.amax(-1)
    ),
    'reverse_anchoring_mean': AnomalyScore(
        'reverse_anchoring', lambda values: values.mean(-1)
    ),
}


def find_suite_score(name: str) -> AnomalyScore:
    """Find an anomaly score by name.

    Args:
        name (str): A name that :func:`~mmanchor.evaluation.find_score` knows,
            or one of ``FEATURE_SCORES`` or ``REVERSE_SCORES``, which only
            suites can compute.

    Raises:
        ImportError: The score is from pytorch-ood, which is not installed.
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


class ModelFields:
    """Computes the tensors that the scores of this module are made from.

    Args:
        model (torch.nn.Module): A host classifier, anchored or not.
        feature_scores (dict): The fitted scores of features, by name.
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
        return bank_labels(self.model).cpu()

    @torch.no_grad()
    def __call__(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        """Compute the tensors for a batch; an empty dict if none is needed.

        Args:
            images (torch.Tensor): As the test pipeline packs them.

        Shape:
            - images: (B, C, H, W)
            - output: (B,) for each score of features, and
              ``reverse_anchoring``, (B, K)
        """
        fields = {}
        if self.feature_scores:
            # pytorch-ood computes these on the CPU: one copy for all
            features = features_of(self.model, images).cpu()
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
    """Compute the input of the last layer.

    For anchored models it is the mean over references.

    Args:
        model (torch.nn.Module): A host classifier, in evaluation mode.
        images (torch.Tensor): As the test pipeline packs them.

    Shape:
        - images: (B, C, H, W)
        - output: (B, D), float32

    Raises:
        TypeError: The head has several feature tensors, or no vectors.
    """
    images = model.data_preprocessor(dict(inputs=images))['inputs']
    return vectors_of(model, model.extract_feat(images, stage='pre_logits'))


def vectors_of(model: nn.Module, features) -> torch.Tensor:
    """Convert the output of a head's ``pre_logits`` to (B, D), float32.

    Args:
        model (torch.nn.Module): The classifier, which an error names.
        features (torch.Tensor | tuple): The output.

    Raises:
        TypeError: There are several feature tensors, or no vectors.
    """
    if isinstance(features, (tuple, list)) and len(features) == 1:
        (features,) = features
    if not isinstance(features, torch.Tensor) or features.dim() != 2:
        raise TypeError(
            'Expected a head with one vector of features an image for scores '
            f'of features, but got {type(model.head).__name__}, which has '
            'several or a map. Leave these scores out.'
        )
    return features.float()
