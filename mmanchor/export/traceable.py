"""An anchored model in the form that exporters can trace."""

import torch
from torch import nn

from ..models.classifier import AnchoredImageClassifier
from ..models.folding import FoldedReferences, plain_preprocessor


class ExportedForm(nn.Module):
    """What is exported: images in, logits out.

    Args:
        model (AnchoredImageClassifier): With the references to export in
            use; it stays as it is.
        pixels (bool): Whether to normalise. Defaults to False.

    Shape:
        - images: (B, C, H, W), normalised, or as the test pipeline packs them
        - output: (B, num_classes)

    Raises:
        ValueError: See :class:`~mmanchor.models.FoldedReferences`.
    """

    def __init__(self, model: AnchoredImageClassifier, pixels: bool = False):
        super().__init__()
        self.model = FoldedReferences(model)
        self.preprocessor = (
            plain_preprocessor(model.data_preprocessor) if pixels else None
        )
        for module in self.model.modules():
            if hasattr(type(module), 'window_reverse'):
                module.window_reverse = _join_windows

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits."""
        if self.preprocessor is not None:
            images = self.preprocessor(dict(inputs=images))['inputs']
        return self.model(images)


def _join_windows(windows, height, width, window_size):
    """Windows of attention as one map, with a batch of any size.

    The host's own works out the batch size with `int`, which makes it a
    constant of the trace.
    """
    rows, columns = height // window_size, width // window_size
    windows = windows.unflatten(0, (-1, rows, columns))
    return windows.transpose(2, 3).flatten(3, 4).flatten(1, 2)
