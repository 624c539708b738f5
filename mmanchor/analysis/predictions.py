"""Predictions of a whole data set, as tensors."""
from typing import NamedTuple, Optional

import torch
from mmengine.dataset import default_collate
from torch import nn
from torch.utils.data import DataLoader, Dataset

from ..evaluation import calibration_error


class Predictions(NamedTuple):
    """What a classifier says of N images.

    Attributes:
        scores (torch.Tensor): (N, num_classes), probabilities.
        labels (torch.Tensor): (N,), true labels.
        stds (torch.Tensor, optional): (N, num_classes), spread of
            the logits over references; None where the model has none.
        used (torch.Tensor): (N,), how many references; 0 without any.
    """
    scores: torch.Tensor
    labels: torch.Tensor
    stds: Optional[torch.Tensor]
    used: torch.Tensor

    @property
    def accuracy(self) -> float:
        """Top-1, in %."""
        right = self.scores.argmax(1) == self.labels
        return 100 * right.double().mean().item()

    @property
    def ece(self) -> float:
        """Expected calibration error, in [0, 1]."""
        return calibration_error(self.scores, self.labels)

    @property
    def mean_used(self) -> float:
        """Mean number of references an image."""
        return self.used.double().mean().item()

    @property
    def spread(self) -> Optional[float]:
        """Mean over images and classes of the spread of the logits."""
        return None if self.stds is None else self.stds.double().mean().item()


@torch.no_grad()
def collect_predictions(model: nn.Module,
                        dataset: Dataset,
                        batch_size: int = 256) -> Predictions:
    """Run a classifier over a data set.

    Args:
        model (torch.nn.Module): A host classifier, anchored or not.
        dataset (torch.utils.data.Dataset): With a test pipeline.
        batch_size (int): Images a batch. Defaults to 256.

    Returns:
        Predictions: In the order of the data set, on CPU.
    """
    model.eval()
    loader = DataLoader(dataset, batch_size, collate_fn=default_collate)
    samples = [sample for batch in loader for sample in model.test_step(batch)]
    return Predictions(
        torch.stack([sample.pred_score for sample in samples]).cpu(),
        torch.cat([sample.gt_label for sample in samples]).cpu(),
        torch.stack([sample.pred_std for sample in samples]).cpu()
        if 'pred_std' in samples[0] else None,
        torch.tensor([sample.get('num_references', 0) for sample in samples]))
