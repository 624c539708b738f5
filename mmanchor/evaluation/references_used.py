"""How many references the adaptive protocol used."""
from typing import Sequence

from mmengine.evaluator import BaseMetric
from mmpretrain.registry import METRICS


@METRICS.register_module()
class ReferencesUsed(BaseMetric):
    """Mean number of references an image, as ``references/mean_used``.

    ``KReferenceHook`` adds it where the protocol is adaptive.

    Args:
        collect_device (str): As for MMEngine's metrics.
        prefix (str, optional): As for MMEngine's metrics.
    """

    default_prefix = 'references'

    def process(self, data_batch, data_samples: Sequence[dict]) -> None:
        """Keep the numbers of a batch."""
        self.results += [sample['num_references'] for sample in data_samples]

    def compute_metrics(self, results: Sequence[int]) -> dict:
        """Their mean over all images."""
        return dict(mean_used=sum(results) / len(results))
