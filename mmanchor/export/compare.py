"""Compares the exported or folded form of a model with the model itself."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from mmengine.config import Config
from mmpretrain.registry import DATASETS

from ..utils.config import scope_of

TOLERANCE = 1e-4
COUNT = 5  # of images to compare


class Comparison(NamedTuple):
    """The difference between the answers of two forms of a model.

    Attributes:
        difference (float): The largest difference of logits, divided by the
            largest logit.
        images (str): A description of the images that were compared.
    """

    difference: float
    images: str


def comparison_images(
    cfg: Config, references: torch.Tensor
) -> tuple[torch.Tensor, str]:
    """Load images of the config's test set, or make noise if that fails.

    Args:
        references (torch.Tensor): Reference images that are not normalised.
            Only their shape and type are used.

    Shape:
        - references: (K, C, H, W)
        - output: (5, C, H, W), or fewer of a smaller set

    Returns:
        Tuple[torch.Tensor, str]: The images as the test pipeline packs them,
        and a description of them.

    Raises:
        ValueError: Test images have another size than the references.
    """
    try:
        with scope_of(cfg):
            dataset = DATASETS.build(cfg.test_dataloader.dataset)
        # Spread the images over the set, which is often sorted by class.
        step = max(1, len(dataset) // COUNT)
        images = [dataset[i]['inputs'] for i in range(0, len(dataset), step)]
        images = images[:COUNT]
    except (
        AttributeError,
        ImportError,
        KeyError,
        OSError,
        RuntimeError,
    ) as error:
        noise = torch.rand(
            COUNT,
            *references.shape[1:],
            generator=torch.Generator().manual_seed(0),
        )
        if not references.is_floating_point():
            noise *= 255
        reason = f'{type(error).__name__}: {error}'.splitlines()[0]
        return noise.to(references.dtype), (
            f"{COUNT} images of noise, because the test set can't be read "
            f'({reason})'
        )
    for image in images:
        if image.shape != references.shape[1:]:
            raise ValueError(
                "Expected test images of the references' size (C, H, W) = "
                f'{tuple(references.shape[1:])}, but got '
                f'{tuple(image.shape)}. Let the test pipeline end at that '
                'size: the exported constants fit no other.'
            )
    return torch.stack(images), f'{len(images)} images of the test set'


@torch.no_grad()
def relative_difference(
    function: Callable,
    expected: torch.Tensor,
    images: torch.Tensor,
    batch_size: int,
) -> float:
    """Compare a function's logits with expected ones.

    Args:
        function (Callable): Computes logits (B, num_classes) from images.
        batch_size (int): Number of images in a call.

    Shape:
        - expected: (B, num_classes)

    Returns:
        float: The largest difference, divided by the largest expected logit;
        infinity if shapes differ or a logit is not finite.

    Example:
        >>> images = torch.ones(3, 1, 1, 2)
        >>> relative_difference(
        ...     lambda x: 4.4 * x.flatten(1),
        ...     torch.full((3, 2), 4.0),
        ...     images,
        ...     batch_size=2,
        ... )
        0.1000...
    """
    logits = torch.cat([function(batch) for batch in images.split(batch_size)])
    if logits.shape != expected.shape or not logits.isfinite().all():
        return float('inf')
    largest = expected.abs().max().clamp(min=torch.finfo(expected.dtype).tiny)
    return float((logits - expected).abs().max() / largest)


def check_difference(error: float, name: str) -> None:
    """Raise if a form of a model answers differently from the model.

    Raises:
        ValueError: The difference exceeds 1e-4 of the largest logit, or is
            NaN.
    """
    if not error <= TOLERANCE:
        raise ValueError(
            f'Expected {name} to answer as the anchored model does, but its '
            f'logits differ by {error:.1e} of the largest logit, more than '
            f'{TOLERANCE:g}. Nothing was written. Use the anchored model '
            'itself, and report the config.'
        )
