"""Does a model know when it is wrong?"""
from typing import List, Optional, Sequence

import torch
from mmengine.evaluator import BaseMetric
from mmpretrain.registry import METRICS

NORMS = ('l1', 'l2', 'max')


def calibration_error(scores: torch.Tensor,
                      labels: torch.Tensor,
                      num_bins: int = 15,
                      norm: str = 'l1') -> float:
    """Top-label calibration error of a whole data set.

    Bins of equal width; torchmetrics does the sums. It puts a confidence of
    exactly 1 into a bin of its own (its issue 3510), so that is lowered by
    one unit in the last place.

    Args:
        scores (torch.Tensor): Predicted probabilities.
        labels (torch.Tensor): True labels.
        num_bins (int): Number of bins. Defaults to 15.
        norm (str): ``'l1'`` (expected calibration error), ``'l2'`` (root mean
            squared) or ``'max'``. Defaults to ``'l1'``.

    Shape:
        - scores: (N, num_classes)
        - labels: (N,)

    Returns:
        float: In [0, 1].

    Raises:
        ImportError: torchmetrics is not installed.

    Example:
        >>> scores = torch.tensor([[1., 0.], [1., 0.]])
        >>> round(calibration_error(scores, torch.tensor([0, 1])), 4)
        0.5

    Source: Guo et al., On Calibration of Modern Neural Networks, ICML 2017.
    """
    binary_calibration_error = _load_torchmetrics()
    confidence, predicted = scores.double().max(dim=1)
    # its "binary" error bins the probability given and compares the bin's
    # mean with the share of ones: here, of right answers
    below_one = torch.nextafter(
        confidence.new_tensor(1.), confidence.new_tensor(0.))
    return binary_calibration_error(
        confidence.clamp(max=below_one), (predicted == labels).long(),
        n_bins=num_bins,
        norm=norm).item()


def _load_torchmetrics():
    try:
        from torchmetrics.functional.classification import \
            binary_calibration_error
    except ImportError as error:
        raise ImportError(
            'Calibration errors are computed by torchmetrics, which is not '
            'installed. Install it with `pip install "mmanchor[eval]"`.'
        ) from error
    return binary_calibration_error


@METRICS.register_module()
class CalibrationError(BaseMetric):
    """:func:`calibration_error`, logged as ``calibration/ece``.

    Args:
        num_bins (int): Number of bins. Defaults to 15.
        norms (Sequence[str]): Which of ``'l1'`` (logged as ``ece``), ``'l2'``
            (``rmsce``) and ``'max'`` (``mce``). Defaults to ``('l1', )``.
        collect_device (str): As for MMEngine's metrics.
        prefix (str, optional): As for MMEngine's metrics.

    Raises:
        ValueError: ``norms`` has another word.
        ImportError: torchmetrics is not installed.
    """

    default_prefix = 'calibration'
    NAMES = dict(l1='ece', l2='rmsce', max='mce')

    def __init__(self,
                 num_bins: int = 15,
                 norms: Sequence[str] = ('l1', ),
                 collect_device: str = 'cpu',
                 prefix: Optional[str] = None):
        super().__init__(collect_device=collect_device, prefix=prefix)
        if not norms or any(norm not in NORMS for norm in norms):
            raise ValueError(f'Expected `norms` to be some of {NORMS}, but '
                             f'got {norms!r}.')
        _load_torchmetrics()  # say now what is missing, not after training
        self.num_bins = num_bins
        self.norms = norms

    def process(self, data_batch, data_samples: Sequence[dict]) -> None:
        """Keep scores and labels of a batch."""
        self.results += [(sample['pred_score'].cpu(), sample['gt_label'].cpu())
                         for sample in data_samples]

    def compute_metrics(self, results: List[tuple]) -> dict:
        """Calibration errors over all images."""
        scores = torch.stack([score for score, _ in results])
        labels = torch.cat([label for _, label in results])
        return {
            self.NAMES[norm]:
            calibration_error(scores, labels, self.num_bins, norm)
            for norm in self.norms
        }
