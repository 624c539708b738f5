"""Reverse anchoring: known images are anchored to the test image.

Source: Thiagarajan et al., PAGER: Accurate Failure Characterization in Deep
Regression Models, ICML 2024 (arXiv 2309.10977).
"""

import torch
from torch import nn

from ...functional import anchor, average_references
from ..classifier import AnchoredImageClassifier
from .reference_passes import normalised


@torch.no_grad()
def bank_labels(model: nn.Module) -> torch.Tensor:
    """Predict the classes of a model's own references.

    A reference bank has no labels, so predictions replace them. They use the
    references and the protocol that test images use.

    Args:
        model (AnchoredImageClassifier): With a filled bank.

    Shape:
        - output: (K,), int64

    Raises:
        TypeError: The model is not anchored, or it anchors features.
        ValueError: The bank is empty.
    """
    model = _anchored(model)
    queries = _queries(model, next(model.parameters()))
    labels = torch.empty(len(queries), dtype=torch.long, device=queries.device)
    for rows, logits in model.answers(queries):
        predicted = average_references(logits, model.average).argmax(1)
        labels[slice(None) if rows is None else rows] = predicted
    return labels


@torch.no_grad()
def reverse_anchoring(
    model: nn.Module, images: torch.Tensor, labels: torch.Tensor | None = None
) -> torch.Tensor:
    """Measure how wrong a model is about known images anchored to others.

    Every image of the reference bank is a query q, and the test image x is
    the reference: the model gets ``[x, q - x]`` and should still recognise q.
    The result is the negative log-likelihood of q's label. Its largest value
    over the queries orders test images as PAGER's score does, the largest
    distance (L1) between the answer and the label, which is 2 (1 - p) for
    probabilities and a one-hot label.

    Each query takes one forward pass with a row for each image.

    Args:
        model (AnchoredImageClassifier): Its bank is filled, and the
            references in use are the queries.
        images (torch.Tensor): The test images, normalised.
        labels (torch.Tensor, optional): The classes of the queries. Defaults
            to None: :func:`bank_labels`.

    Shape:
        - images: (B, C, H, W)
        - labels: (K,)
        - output: (B, K), in nats

    Raises:
        TypeError: The model is not anchored, or it anchors features.
        ValueError: The bank is empty, its images have another size than the
            test images, or there are more or fewer labels than queries.

    Example:
        >>> from mmanchor.models import AnchoredImageClassifier
        >>> model = AnchoredImageClassifier(
        ...     backbone=dict(type='ResNet_CIFAR', depth=18),
        ...     neck=dict(type='GlobalAveragePooling'),
        ...     head=dict(
        ...         type='LinearClsHead', num_classes=10, in_channels=512
        ...     ),
        ... ).eval()
        >>> model.reference_bank.fill(torch.rand(3, 3, 8, 8))
        >>> reverse_anchoring(model, torch.rand(2, 3, 8, 8)).shape
        torch.Size([2, 3])
    """
    model = _anchored(model)
    queries = _queries(model, images)
    if labels is None:
        labels = bank_labels(model)
    if labels.shape != queries.shape[:1]:
        raise ValueError(
            f'Expected one label for each of the {len(queries)} references '
            f'in use, but got labels of shape {tuple(labels.shape)}. Give as '
            'many, or leave `labels` out.'
        )
    found = []
    for query, label in zip(queries, labels.tolist()):
        rows = anchor(query.expand(len(images), *query.shape), images)
        logits = model.reference_logits(rows)[0]
        found.append(-logits.log_softmax(1)[:, label])
    return torch.stack(found, 1)


def _queries(model, like: torch.Tensor) -> torch.Tensor:
    """The references that the model's protocol uses, normalised."""
    packed = model.reference_bank.in_use[model.protocol.features_of]
    return normalised(model, packed, like)


def _anchored(model: nn.Module) -> AnchoredImageClassifier:
    """Return the model if it anchors images, and raise otherwise."""
    if not isinstance(model, AnchoredImageClassifier):
        raise TypeError(
            'Expected an AnchoredImageClassifier for reverse anchoring, which '
            'shows test images as references, but got '
            f'{type(model).__name__}. Choose another score for it.'
        )
    if model.place is not None:
        raise TypeError(
            'Expected a model that anchors images for reverse anchoring, but '
            f'got one with anchor_at={model.anchor_at!r}, whose references '
            'are features. Choose another score for it.'
        )
    return model
