"""What the references of anchored models tell over a whole data set."""
import torch
from mmpretrain.registry import METRICS

from .per_image import PerImageMetric, marked


@METRICS.register_module()
class ReferencesUsed(PerImageMetric):
    """Mean number of references an image, as ``references/mean_used``.

    ``KReferenceHook`` adds it where the protocol is adaptive.

    Args:
        collect_device (str): As for MMEngine's metrics.
        prefix (str, optional): As for MMEngine's metrics.
    """

    default_prefix = 'references'

    def numbers(self, batch):
        """See :class:`~mmanchor.evaluation.PerImageMetric`."""
        return [batch['num_references'].flatten()]

    def of_images(self, used: torch.Tensor) -> dict:
        """Their mean over all images."""
        return dict(mean_used=used.mean().item())


@METRICS.register_module()
class ReferenceSpread(PerImageMetric):
    """Mean spread of the logits over references, as ``references/spread``.

    Their standard deviation, mean over classes and images; 0 with one
    reference.

    Args:
        collect_device (str): As for MMEngine's metrics.
        prefix (str, optional): As for MMEngine's metrics.
    """

    default_prefix = 'references'

    def numbers(self, batch):
        """See :class:`~mmanchor.evaluation.PerImageMetric`."""
        stds = batch['pred_std']
        return [marked(stds.double().mean(1), stds)]

    def of_images(self, spread: torch.Tensor) -> dict:
        """The mean over all images."""
        return dict(spread=spread.mean().item())
