"""Images to compare two forms of a model on, and how far they differ."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from mmengine.config import Config
from mmpretrain.registry import DATASETS

from ..utils.config import scope_of

TOLERANCE = 1e-4


class Comparison(NamedTuple):
    """How far two forms of a model differ.

    Attributes:
        difference (float): The largest difference of logits over the largest
            logit.
        images (str): What images it was measured on.
    """

    difference: float
    images: str


def compared_images(
    cfg: Config, references: torch.Tensor, count: int = 5
) -> tuple[torch.Tensor, str]:
    """Images of the config's test set, or noise if it can't be read.

    Args:
        cfg (Config): With a ``test_dataloader``.
        references (torch.Tensor): For shape and type, not normalised.
        count (int): How many, at most. Defaults to 5.

    Shape:
        - references: (K, C, H, W)
        - output: (count, C, H, W)

    Returns:
        Tuple[torch.Tensor, str]: As the test pipeline packs them, and what
        they are.

    Raises:
        ValueError: Test images have another size than the references.
    """
    try:
        with scope_of(cfg):
            dataset = DATASETS.build(cfg.test_dataloader.dataset)
        step = max(1, len(dataset) // count)  # sets are sorted by class often
        images = [dataset[i]['inputs'] for i in range(0, len(dataset), step)]
        images = images[:count]
    except (
        AttributeError,
        ImportError,
        KeyError,
        OSError,
        RuntimeError,
    ) as error:
        noise = torch.rand(
            count,
            *references.shape[1:],
            generator=torch.Generator().manual_seed(0),
        )
        if not references.is_floating_point():
            noise *= 255
        reason = f'{type(error).__name__}: {error}'.splitlines()[0]
        return noise.to(references.dtype), (
            f"{count} images of noise, as the test set can't be read "
            f'({reason})'
        )
    for image in images:
        if image.shape != references.shape[1:]:
            raise ValueError(
                "Expected test images of the references' size (C, H, W) = "
                f'{tuple(references.shape[1:])}, but got '
                f'{tuple(image.shape)}. Let the test pipeline end at their '
                'size, which is the only one that the constants made of '
                'references fit.'
            )
    return torch.stack(images), f'{len(images)} images of the test set'


@torch.no_grad()
def difference(
    function: Callable,
    expected: torch.Tensor,
    images: torch.Tensor,
    batch_size: int,
) -> float:
    """How far a function's logits are from others, relative to the largest.

    Shape:
        - expected: (B, num_classes)
        - images: (B, C, H, W)

    Example:
        >>> images = torch.ones(3, 1, 1, 2)
        >>> difference(
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


def check_difference(found: float, what: str) -> None:
    """Refuse what answers otherwise.

    Raises:
        ValueError: It differs by more than 1e-4 of the largest logit.
    """
    if not found <= TOLERANCE:
        raise ValueError(
            f'Expected {what} to answer as the anchored model does, but its '
            f'logits differ by {found:.1e} of the largest, over '
            f'{TOLERANCE:g}, so nothing was written. Test with the anchored '
            'model itself, and report the config.'
        )
