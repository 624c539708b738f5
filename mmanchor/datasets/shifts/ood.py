"""Images that are none of a model's classes."""

from mmcv.transforms import BaseTransform
from mmpretrain.registry import TRANSFORMS


@TRANSFORMS.register_module()
class MarkOutOfDistribution(BaseTransform):
    """Give an image the label -1, which :class:`AnomalyRejection` looks for.

    Put it before ``PackInputs`` in the pipeline of a data set of other
    kinds of images. Modified key: ``gt_label``.

    Example:
        >>> MarkOutOfDistribution()(dict(gt_label=3))
        {'gt_label': -1}
    """

    def transform(self, results: dict) -> dict:
        """Set the label."""
        results['gt_label'] = -1
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}()'
