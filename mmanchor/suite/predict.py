"""What a classifier says of a batch, in tensors."""

import copy
from collections.abc import Sequence

import torch
from mmpretrain.models import ImageClassifier
from mmpretrain.models.heads import ClsHead
from torch import nn

from ..functional import average_references, reference_spread
from ..models import AnchoredImageClassifier
from ..registry import UNCERTAINTIES, find_registered
from ..utils.pytorch import copy_to_device


def check_classifier(model: nn.Module) -> None:
    """Refuse models whose answer is no softmax over classes.

    Raises:
        TypeError: It is none.
    """
    if not (
        isinstance(model, ImageClassifier)
        and isinstance(model.head, ClsHead)
        and not type(model.head).__name__.startswith('Regression')
    ):
        head = type(getattr(model, 'head', None)).__name__
        raise TypeError(
            'Expected an ImageClassifier with one softmax over the classes '
            f'(a ClsHead), but got {type(model).__name__} with {head}. Name '
            'another config.'
        )


class DeepEnsemble(nn.Module):
    """Classifiers that answer with the mean of their probabilities.

    Args:
        members (Sequence[torch.nn.Module]): Host classifiers, anchored or
            not; each answers by its own references.

    Source: Lakshminarayanan et al., Simple and Scalable Predictive
    Uncertainty Estimation using Deep Ensembles, NeurIPS 2017, which averages
    probabilities rather than logits.
    """

    def __init__(self, members: Sequence[nn.Module]):
        super().__init__()
        self.members = nn.ModuleList(members)

    @property
    def stem_distance(self) -> float | None:
        """Mean over members; None of plain ones."""
        found = [getattr(one, 'stem_distance', None) for one in self.members]
        return None if None in found else sum(found) / len(found)


@torch.no_grad()
def predict_batch(
    model: nn.Module, images: torch.Tensor, measures: Sequence[str] = ()
) -> dict[str, torch.Tensor]:
    """The fields of a classifier's predictions, each one tensor.

    Those that ``model.test_step`` gives a sample at a time, to the bit, and
    the logits of plain models. Of an ensemble ``pred_score`` is the mean of
    its members' probabilities and ``answer`` the logarithm of that, which a
    temperature divides; whatever else its members give is averaged as it is,
    so that scores made from logits (energy, for one) are made from mean
    logits: the energy of a logarithm of probabilities is 0 for all images.

    Args:
        model (torch.nn.Module): A host classifier, anchored or not, or a
            :class:`DeepEnsemble`, in evaluation mode.
        images (torch.Tensor): As the test pipeline packs them.
        measures (Sequence[str]): Measures of uncertainty of anchored models,
            by their names in ``UNCERTAINTIES``. Defaults to none.

    Shape:
        - images: (B, C, H, W)
        - output: ``answer`` (B, num_classes), whose softmax ``pred_score``
          is; ``pred_logits`` (B, num_classes); of anchored models
          ``num_references`` (B,), unless they are adaptive ``pred_std``
          (B, num_classes), and ``reference_logits`` (B, num_classes, K) where
          every image is answered by the same K > 1 references
    """
    if isinstance(model, DeepEnsemble):
        return _ensemble(model.members, images)
    images = model.data_preprocessor(dict(inputs=images))['inputs']
    if isinstance(model, AnchoredImageClassifier):
        return _anchored(model, images, measures)
    logits = plain_logits(model, images).float()
    return dict(
        answer=logits, pred_score=logits.softmax(1), pred_logits=logits
    )


def _ensemble(members, images) -> dict[str, torch.Tensor]:
    each = [predict_batch(one, images) for one in members]
    fields = {
        name: torch.stack([one[name].float() for one in each]).mean(0)
        for name in each[0]
    }
    fields['answer'] = _log_of_mean([one['answer'] for one in each])
    if 'reference_logits' in fields:
        # of all members with their first reference, their second, and so on
        fields['reference_logits'] = _log_of_mean(
            [one['reference_logits'].movedim(1, -1) for one in each]
        ).movedim(-1, 1)
    return fields


def _log_of_mean(logits: Sequence[torch.Tensor]) -> torch.Tensor:
    return average_references(torch.stack(list(logits)), 'probabilities')


def _anchored(model, images, measures) -> dict[str, torch.Tensor]:
    parts, order = [], []
    for rows, logits in model.answers(images):
        answer = average_references(logits, model.average)
        used = torch.full((len(answer),), len(logits), device=answer.device)
        part = dict(
            answer=answer,
            pred_score=answer.softmax(1),
            pred_logits=logits.mean(0),
            num_references=used,
        )
        if model.protocol.same_number:
            part['pred_std'] = reference_spread(logits)
        for name in measures:
            part[name] = find_registered(name, UNCERTAINTIES)(logits)
        parts.append(part)
        order.append(rows)
    if len(parts) == 1:
        if len(logits) > 1 and model.protocol.name == 'mean':
            parts[0]['reference_logits'] = logits.permute(1, 2, 0)
        return parts[0]
    place = copy_to_device(torch.cat(order).argsort(), images.device)
    return {
        name: torch.cat([part[name] for part in parts])[place]
        for name in parts[0]
    }


def plain_logits(model: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """The logits of a plain classifier for normalised images, (B, classes)."""
    # Heads combine several scores in `predict`. A shallow copy shares the
    # weights, so other threads never see the method that is replaced on it.
    head = copy.copy(model.head)
    head._get_predictions = lambda scores, samples: scores
    return head.predict(model.extract_feat(images), None)
