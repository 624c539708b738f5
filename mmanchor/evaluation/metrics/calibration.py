"""Calibration: is the confidence of answers their share of right ones?"""

from collections.abc import Sequence

import torch
from mmpretrain.registry import METRICS

from .per_image import TopLabelMetric
from .predicted_batch import check_predictions, top_label

NORMS = ('l1', 'l2', 'max')
# Confidences are rounded to this many cells for smECE. The error that this
# causes is at most the width of a cell.
NUM_CELLS = 2**14


def calibration_error(
    scores: torch.Tensor,
    labels: torch.Tensor,
    num_bins: int = 15,
    norm: str = 'l1',
) -> float:
    """Compute the top-label calibration error of a whole data set.

    torchmetrics computes it with bins of equal width. Because torchmetrics
    puts a confidence of exactly 1 into an extra bin (its issue 3510), we lower
    such confidences by one unit in the last place.

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
        float: The error, in [0, 1].

    Raises:
        ImportError: torchmetrics is not installed.
        TypeError: See :func:`~.predicted_batch.check_predictions`.
        ValueError: See there; or a label is none of the classes.

    Example:
        >>> scores = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
        >>> round(calibration_error(scores, torch.tensor([0, 1])), 4)
        0.5

    Source: Guo et al., On Calibration of Modern Neural Networks, ICML 2017.
    """
    _check_num_bins(num_bins)
    _check_norms([norm])
    labels = check_predictions(scores, labels)
    return _binned_error(*top_label(scores, labels), num_bins, norm)


def smoothed_calibration_error(
    scores: torch.Tensor, labels: torch.Tensor
) -> float:
    """Compute the top-label calibration error without bins (smECE).

    The residual of an image is 1 if the answer is right and 0 otherwise,
    minus the confidence. Residuals are smoothed along the confidence with a
    Gaussian that is reflected at 0 and 1. The error is the width of the
    Gaussian for which the integral of the absolute smoothed residuals equals
    that width.

    The authors' package relplot cuts its Gaussian off at +-1/2. It therefore
    gives larger errors above about 0.2 if confidence is too high in one place
    and too low in another.

    Args:
        scores (torch.Tensor): See :func:`calibration_error`.
        labels (torch.Tensor): See :func:`calibration_error`.

    Returns:
        float: The error, in [0, 1], exact to 1e-4 or better.

    Raises:
        TypeError: See :func:`calibration_error`.
        ValueError: See :func:`calibration_error`.

    Example:
        >>> scores = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
        >>> round(smoothed_calibration_error(scores, torch.tensor([0, 1])), 2)
        0.5

    Source: Blasiok and Nakkiran, Smooth ECE: Principled Reliability Diagrams
    via Kernel Smoothing, ICLR 2024.
    """
    labels = check_predictions(scores, labels)
    return _smoothed_error(*top_label(scores, labels))


def _check_norms(norms) -> None:
    if not norms or any(norm not in NORMS for norm in norms):
        raise ValueError(
            f'Expected `norms` to be some of {NORMS}, but got {norms!r}. '
            'Change `norms`.'
        )


def _check_num_bins(num_bins) -> None:
    if (
        not isinstance(num_bins, int)
        or isinstance(num_bins, bool)
        or num_bins < 1
    ):
        raise ValueError(
            'Expected `num_bins` to be a positive integer, but '
            f'got {num_bins!r}. Change `num_bins`.'
        )


def _binned_error(confidence, right, num_bins, norm) -> float:
    # torchmetrics' binary error bins the probability that it is given, and
    # compares the mean of each bin with the share of ones. With confidences
    # and right answers this is the top-label error.
    below_one = torch.nextafter(
        confidence.new_tensor(1.0), confidence.new_tensor(0.0)
    )
    return _load_torchmetrics()(
        confidence.clamp(max=below_one),
        right.long(),
        n_bins=num_bins,
        norm=norm,
    ).item()


def _smoothed_error(confidence, right) -> float:
    cells = _residuals_by_confidence(confidence.cpu(), right.cpu())
    # Mirroring the residuals implements the reflection at 0 and 1.
    waves = torch.fft.rfft(torch.cat([cells, cells.flip(0)]))
    decay = (torch.pi * torch.arange(len(waves)).double()).square() / 2

    def smoothed(width):
        shrunk = waves * (-decay * width**2).exp()
        return torch.fft.irfft(shrunk).abs().sum().item() / 2

    low, high = 0.0, 1.0
    for _ in range(30):  # bisection: a wider Gaussian leaves smaller residuals
        middle = (low + high) / 2
        low, high = (
            (middle, high) if smoothed(middle) > middle else (low, middle)
        )
    return low


def _residuals_by_confidence(confidence, right):
    """Sum residuals in cells, each split between the two nearest cells."""
    # A confidence may exceed 1 by a rounding error.
    place = confidence.double().clamp(max=1) * NUM_CELLS - 0.5
    residuals = (right.double() - confidence) / len(right)
    below = place.floor()
    upper = place - below
    cells = residuals.new_zeros(NUM_CELLS)
    for cell, share in ((below, 1 - upper), (below + 1, upper)):
        at = cell.long().clamp(0, NUM_CELLS - 1)
        cells.index_add_(0, at, share * residuals)
    return cells


def _load_torchmetrics():
    try:
        from torchmetrics.functional.classification import (
            binary_calibration_error,
        )
    except ImportError as error:
        raise ImportError(
            'Expected torchmetrics, which computes calibration errors, but it '
            'is not installed. Install it with `pip install "mmanchor[eval]"`.'
        ) from error
    return binary_calibration_error


@METRICS.register_module()
class CalibrationError(TopLabelMetric):
    """:func:`calibration_error`, logged as ``calibration/ece``.

    Args:
        num_bins (int): Number of bins. Defaults to 15.
        norms (Sequence[str]): Which of ``'l1'`` (logged as ``ece``), ``'l2'``
            (``rmsce``) and ``'max'`` (``mce``). Defaults to ``('l1', )``.
        collect_device (str): See MMEngine's ``BaseMetric``.
        prefix (str, optional): See MMEngine's ``BaseMetric``.

    Raises:
        ValueError: ``norms`` or ``num_bins`` is out of range.
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
        _load_torchmetrics()  # raise before training, not after it
        self.num_bins = num_bins
        self.norms = norms

    def of_images(self, confidence, right):
        """Compute the errors over all images."""
        return {
            self.NAMES[norm]: _binned_error(
                confidence, right, self.num_bins, norm
            )
            for norm in self.norms
        }


@METRICS.register_module()
class SmoothedCalibrationError(TopLabelMetric):
    """:func:`smoothed_calibration_error`, as ``calibration/smooth_ece``.

    Its arguments are those of MMEngine's ``BaseMetric``.
    """

    default_prefix = 'calibration'

    def of_images(self, confidence, right):
        """Compute the error over all images."""
        return dict(smooth_ece=_smoothed_error(confidence, right))
