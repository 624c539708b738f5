"""Is the first choice right?"""

import torch
from mmpretrain.registry import METRICS

from .per_image import TopLabelMetric


@METRICS.register_module()
class Top1Accuracy(TopLabelMetric):
    """Share of images whose first choice is right, as ``accuracy/top1``, in %.

    The host's ``Accuracy``, but for data sets that have only some of the
    classes: of ImageNet-R, -A and -O (``kept_classes`` of their ``metainfo``)
    only their logits are compared.

    Args:
        collect_device (str): As for MMEngine's metrics.
        prefix (str, optional): As for MMEngine's metrics.
    """

    default_prefix = 'accuracy'

    def of_images(self, confidence: torch.Tensor, right: torch.Tensor) -> dict:
        """The share over all images."""
        return dict(top1=100 * right.mean().item())
