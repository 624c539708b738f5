"""The control experiment: a plain classifier trained on image differences."""

from mmpretrain.models import ImageClassifier
from mmpretrain.registry import MODELS

from .data_preprocessor import SubtractiveMixDataPreprocessor
from .masked_norm_stats import MaskedNormStats


@MODELS.register_module()
class SubtractiveMixImageClassifier(MaskedNormStats, ImageClassifier):
    """An ``ImageClassifier`` with other running statistics.

    With :class:`~mmanchor.models.SubtractiveMixDataPreprocessor` it is the
    control for anchored training with true labels on masked batches. Layers,
    weights, losses and predictions are those of ``ImageClassifier``. But
    batches of differences do not update the running statistics of BatchNorm,
    just as masked batches do not in
    :class:`~mmanchor.models.AnchoredImageClassifier`.
    With ``masked_norm_stats='update'`` it trains as ``ImageClassifier`` does.

    Args:
        *args: Arguments of ``ImageClassifier``.
        data_preprocessor (dict, optional): A
            :class:`~mmanchor.models.SubtractiveMixDataPreprocessor`, which is
            also the default type.
        masked_norm_stats (str): Whether batches of which every row is a
            difference move running statistics: ``'skip'``: no; ``'update'``:
            yes. Defaults to ``'skip'``.
        **kwargs: Arguments of ``ImageClassifier``.

    Shape:
        - inputs: (B, C, H, W)
        - output, ``mode='tensor'``: as of ``ImageClassifier``

    Raises:
        TypeError: The data preprocessor is of another class.
        ValueError: ``masked_norm_stats`` is neither of them.

    Example:
        >>> model = SubtractiveMixImageClassifier(
        ...     backbone=dict(type='ResNet_CIFAR', depth=18),
        ...     data_preprocessor=dict(mask_prob=0.25),
        ... )
        >>> model.masked_norm_stats
        'skip'
    """

    def __init__(self, *args, data_preprocessor: dict | None = None, **kwargs):
        if data_preprocessor is None:
            data_preprocessor = {}
        if isinstance(data_preprocessor, dict):
            data_preprocessor.setdefault(
                'type', 'mmpretrain.SubtractiveMixDataPreprocessor'
            )
        super().__init__(*args, data_preprocessor=data_preprocessor, **kwargs)
        if not isinstance(
            self.data_preprocessor, SubtractiveMixDataPreprocessor
        ):
            raise TypeError(
                'Expected `data_preprocessor` of a '
                'SubtractiveMixImageClassifier to be a '
                'SubtractiveMixDataPreprocessor, but got '
                f'{type(self.data_preprocessor).__name__}. Set '
                "`data_preprocessor = dict(type='"
                "SubtractiveMixDataPreprocessor')`."
            )
