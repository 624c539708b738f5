"""Does a model know when it is wrong?"""

from collections.abc import Sequence

import torch
from mmpretrain.registry import METRICS

from .per_image import TopLabelMetric
from .predicted_batch import check_predictions, top_label

NORMS = ('l1', 'l2', 'max')
CELLS = 2**14  # of smECE, which is never off by more than their width


def calibration_error(
    scores: torch.Tensor,
    labels: torch.Tensor,
    num_bins: int = 15,
    norm: str = 'l1',
) -> float:
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
        TypeError: ``scores`` are not floating-point, or ``labels`` no
            integers.
        ValueError: There is no image, one has NaN or infinity or no
            probabilities, or a label is missing or none of the classes.

    Example:
        >>> scores = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
        >>> round(calibration_error(scores, torch.tensor([0, 1])), 4)
        0.5

    Source: Guo et al., On Calibration of Modern Neural Networks, ICML 2017.
    """
    _check_num_bins(num_bins)
    _check_norms([norm])
    labels = check_predictions(scores, labels)
    return _binned(*top_label(scores, labels), num_bins, norm)


def smoothed_calibration_error(
    scores: torch.Tensor, labels: torch.Tensor
) -> float:
    """Top-label calibration error without bins (smECE), of a data set.

    Residuals (1 or 0 for right or wrong, less confidence) are smoothed along
    confidence with a Gaussian, reflected at 0 and 1, whose width is the
    error itself: the one width at which the integral of what is left, taken
    without sign, is the width. The authors' relplot cuts its Gaussian off
    at +-1/2 and so gives larger errors, from about 0.2, where confidence is
    too high in one place and too low in another.

    Args:
        scores (torch.Tensor): Predicted probabilities.
        labels (torch.Tensor): True labels.

    Shape:
        - scores: (N, num_classes)
        - labels: (N,)

    Returns:
        float: In [0, 1], to 1e-4 or better.

    Raises:
        TypeError: ``scores`` are not floating-point, or ``labels`` no
            integers.
        ValueError: There is no image, one has NaN or infinity or no
            probabilities, or a label is missing or none of the classes.

    Example:
        >>> scores = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
        >>> round(smoothed_calibration_error(scores, torch.tensor([0, 1])), 2)
        0.5

    Source: Blasiok and Nakkiran, Smooth ECE: Principled Reliability Diagrams
    via Kernel Smoothing, ICLR 2024.
    """
    labels = check_predictions(scores, labels)
    return _smoothed(*top_label(scores, labels))


def _check_norms(norms) -> None:
    if not norms or any(norm not in NORMS for norm in norms):
        raise ValueError(
            f'Expected `norms` to be some of {NORMS}, but '
            f'got {norms!r}. Change it.'
        )


def _check_num_bins(num_bins) -> None:
    if (
        not isinstance(num_bins, int)
        or isinstance(num_bins, bool)
        or num_bins < 1
    ):
        raise ValueError(
            'Expected `num_bins` to be a positive integer, but '
            f'got {num_bins!r}. Change it.'
        )


def _binned(confidence, right, num_bins, norm) -> float:
    # its "binary" error bins the probability given and compares the bin's
    # mean with the share of ones: here, of right answers
    below_one = torch.nextafter(
        confidence.new_tensor(1.0), confidence.new_tensor(0.0)
    )
    return _load_torchmetrics()(
        confidence.clamp(max=below_one),
        right.long(),
        n_bins=num_bins,
        norm=norm,
    ).item()


def _smoothed(confidence, right) -> float:
    cells = _residuals(confidence.cpu(), right.cpu())
    # mirrored, they have cosines only: reflection for free
    waves = torch.fft.rfft(torch.cat([cells, cells.flip(0)]))
    decay = (torch.pi * torch.arange(len(waves)).double()).square() / 2

    def smoothed(width):
        shrunk = waves * (-decay * width**2).exp()
        return torch.fft.irfft(shrunk).abs().sum().item() / 2

    low, high = 0.0, 1.0
    for _ in range(30):  # a wider Gaussian leaves less
        middle = (low + high) / 2
        low, high = (
            (middle, high) if smoothed(middle) > middle else (low, middle)
        )
    return low


def _residuals(confidence, right):
    """Their sums in cells of confidence, shared by the two nearest ones."""
    # a rounding error above 1 would be outside
    place = confidence.double().clamp(max=1) * CELLS - 0.5
    residuals = (right.double() - confidence) / len(right)
    below = place.floor()
    upper = place - below
    cells = residuals.new_zeros(CELLS)
    for cell, share in ((below, 1 - upper), (below + 1, upper)):
        at = cell.long().clamp(0, CELLS - 1)
        cells.index_add_(0, at, share * residuals)
    return cells


def _load_torchmetrics():
    try:
        from torchmetrics.functional.classification import (
            binary_calibration_error,
        )
    except ImportError as error:
        raise ImportError(
            'Calibration errors are computed by torchmetrics, which is not '
            'installed. Install it with `pip install "mmanchor[eval]"`.'
        ) from error
    return binary_calibration_error


@METRICS.register_module()
class CalibrationError(TopLabelMetric):
    """:func:`calibration_error`, logged as ``calibration/ece``.

    Args:
        num_bins (int): Number of bins. Defaults to 15.
        norms (Sequence[str]): Which of ``'l1'`` (logged as ``ece``), ``'l2'``
            (``rmsce``) and ``'max'`` (``mce``). Defaults to ``('l1', )``.
        collect_device (str): As for MMEngine's metrics.
        prefix (str, optional): As for MMEngine's metrics.

    Raises:
        ValueError: ``norms`` has another word, or ``num_bins`` is below 1.
        ImportError: torchmetrics is not installed.
    """

    default_prefix = 'calibration'
    NAMES = dict(l1='ece', l2='rmsce', max='mce')

    def __init__(
        self,
        num_bins: int = 15,
        norms: Sequence[str] = ('l1',),
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ):
        super().__init__(collect_device=collect_device, prefix=prefix)
        _check_norms(norms)
        _check_num_bins(num_bins)
        _load_torchmetrics()  # say now what is missing, not after training
        self.num_bins = num_bins
        self.norms = norms

    def of_images(self, confidence, right):
        """Calibration errors over all images."""
        return {
            self.NAMES[norm]: _binned(confidence, right, self.num_bins, norm)
            for norm in self.norms
        }


@METRICS.register_module()
class SmoothedCalibrationError(TopLabelMetric):
    """:func:`smoothed_calibration_error`, as ``calibration/smooth_ece``.

    Args:
        collect_device (str): As for MMEngine's metrics.
        prefix (str, optional): As for MMEngine's metrics.
    """

    default_prefix = 'calibration'

    def of_images(self, confidence, right):
        """The error over all images."""
        return dict(smooth_ece=_smoothed(confidence, right))
