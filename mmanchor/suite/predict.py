"""What a classifier says of a batch, in tensors."""
from typing import Dict

import torch
from mmpretrain.models import ImageClassifier
from mmpretrain.models.heads import ClsHead
from torch import nn

from ..functional import average_references, reference_spread
from ..models import AnchoredImageClassifier


def check_classifier(model: nn.Module) -> None:
    """Refuse models whose answer is no softmax over classes.

    Raises:
        TypeError: It is none.
    """
    if not (isinstance(model, ImageClassifier)
            and isinstance(model.head, ClsHead)
            and not type(model.head).__name__.startswith('Regression')):
        head = type(getattr(model, 'head', None)).__name__
        raise TypeError(
            'Expected an ImageClassifier with one softmax over the classes '
            f'(a ClsHead), but got {type(model).__name__} with {head}. Name '
            'another config.')


@torch.no_grad()
def predict_batch(model: nn.Module,
                  images: torch.Tensor) -> Dict[str, torch.Tensor]:
    """The fields of a classifier's predictions, each one tensor.

    Those that ``model.test_step`` gives a sample at a time, to the bit, and
    the logits of plain models.

    Args:
        model (torch.nn.Module): A host classifier, anchored or not, in
            evaluation mode.
        images (torch.Tensor): As the test pipeline packs them.

    Shape:
        - images: (B, C, H, W)
        - output: ``answer`` (B, num_classes), whose softmax ``pred_score``
          is; ``pred_logits`` (B, num_classes); of anchored models
          ``num_references`` (B,) and, unless they are adaptive,
          ``pred_std`` (B, num_classes)
    """
    images = model.data_preprocessor(dict(inputs=images))['inputs']
    if isinstance(model, AnchoredImageClassifier):
        return _anchored(model, images)
    logits = _plain_logits(model, images).float()
    return dict(
        answer=logits, pred_score=logits.softmax(1), pred_logits=logits)


def _anchored(model, images) -> Dict[str, torch.Tensor]:
    parts, order = [], []
    for rows, logits in model.answers(images):
        answer = average_references(logits, model.average)
        used = torch.full((len(answer), ), len(logits), device=answer.device)
        part = dict(
            answer=answer,
            pred_score=answer.softmax(1),
            pred_logits=logits.mean(0),
            num_references=used)
        if model.protocol.same_number:
            part['pred_std'] = reference_spread(logits)
        parts.append(part)
        order.append(rows)
    if len(parts) == 1:
        return parts[0]
    place = torch.cat(order).argsort()
    return {
        name: torch.cat([part[name] for part in parts])[place]
        for name in parts[0]
    }


def _plain_logits(model, images) -> torch.Tensor:
    head = model.head
    # what heads make of several scores, before it becomes samples
    head._get_predictions = lambda scores, samples: scores
    try:
        return head.predict(model.extract_feat(images), None)
    finally:
        del head._get_predictions
