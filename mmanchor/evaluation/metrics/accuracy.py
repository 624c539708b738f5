"""Accuracy: is the class with the highest probability the true one?"""

import torch
from mmpretrain.registry import METRICS

from .per_image import PerImageMetric, TopLabelMetric, mark_nonfinite


@METRICS.register_module()
class Top1Accuracy(TopLabelMetric):
    """Top-1 accuracy in percent, logged as ``accuracy/top1``.

    It equals the host's ``Accuracy``, except on data sets that have only some
    of the classes, such as ImageNet-R, -A and -O: there, only the classes in
    ``kept_classes`` of the ``metainfo`` compete.

    Its arguments are those of MMEngine's ``BaseMetric``.
    """

    default_prefix = 'accuracy'

    def of_images(self, confidence: torch.Tensor, right: torch.Tensor) -> dict:
        """Compute the share of right answers over all images."""
        return dict(top1=100 * right.mean().item())


class SingleReferenceAccuracy(PerImageMetric):
    """Top-1 accuracy in percent with each of K references alone.

    The values ``top1_reference_1`` to ``top1_reference_K`` come from the same
    pass as the joint answer of all K references. Their mean is the accuracy
    to expect with one reference; their spread shows how much its choice
    matters. The class is not registered, because the host's predictions don't
    include the answers for single references.
    """

    def numbers(self, batch):
        """Say for each reference whether its answer is right."""
        logits = batch['reference_logits']
        right = logits.argmax(1) == batch.labels[:, None]
        return [
            mark_nonfinite(one.double(), logits) for one in right.unbind(1)
        ]

    def of_images(self, *right: torch.Tensor) -> dict[str, float]:
        """Compute the shares of right answers over all images."""
        return {
            f'top1_reference_{i}': 100 * column.mean().item()
            for i, column in enumerate(right, 1)
        }
