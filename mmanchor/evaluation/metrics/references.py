"""Metrics of the references that an anchored model uses."""

import torch
from mmpretrain.registry import METRICS

from .per_image import PerImageMetric, mark_nonfinite


@METRICS.register_module()
class ReferencesUsed(PerImageMetric):
    """Mean number of references per image, as ``references/mean_used``.

    ``KReferenceHook`` adds this metric if the protocol is adaptive.

    Its arguments are those of MMEngine's ``BaseMetric``.
    """

    default_prefix = 'references'

    def numbers(self, batch):
        """See :class:`PerImageMetric`."""
        return [batch['num_references'].flatten()]

    def of_images(self, used: torch.Tensor) -> dict:
        """Compute the mean over all images."""
        return dict(mean_used=used.mean().item())


@METRICS.register_module()
class ReferenceSpread(PerImageMetric):
    """Mean spread of the logits over references, as ``references/spread``.

    The spread is the standard deviation of each logit, averaged over classes
    and images. It is 0 with one reference.

    Its arguments are those of MMEngine's ``BaseMetric``.
    """

    default_prefix = 'references'

    def numbers(self, batch):
        """See :class:`PerImageMetric`."""
        stds = batch['pred_std']
        return [mark_nonfinite(stds.double().mean(1), stds)]

    def of_images(self, spread: torch.Tensor) -> dict:
        """Compute the mean over all images."""
        return dict(spread=spread.mean().item())
