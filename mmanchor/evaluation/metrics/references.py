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


class SingleReferenceAccuracy(PerImageMetric):
    """Accuracy in % with each of K references alone.

    From the same pass as the answer of all K together: figures
    ``top1_reference_1`` to ``top1_reference_K``, whose mean is what one
    reference gives and whose spread is what its choice is worth. Not
    registered: the host's predictions don't carry the answers of single
    references.
    """

    def numbers(self, batch):
        """Whether each reference's first choice is right."""
        logits = batch['reference_logits']
        right = logits.argmax(1) == batch.labels[:, None]
        return [marked(one.double(), logits) for one in right.unbind(1)]

    def of_images(self, *right: torch.Tensor) -> dict[str, float]:
        """The shares over all images."""
        return {
            f'top1_reference_{i}': 100 * one.mean().item()
            for i, one in enumerate(right, 1)
        }
