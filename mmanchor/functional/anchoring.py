"""Anchored inputs: a reference and the residual to it.

Source: Narayanaswamy et al., "On the Use of Anchoring for Training Vision
Models", NeurIPS 2024 (arXiv 2406.00529).
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch

from .masking import RowMask


class ReferredImages(NamedTuple):
    """Images and their references, for a model that anchors features.

    Such a model needs images and references rather than ``[r, x - r]``.

    Attributes:
        images (torch.Tensor): (B, C, H, W), normalised.
        references (torch.Tensor): (B,), int64, the index of the image that is
            each image's reference; or (B, C, H, W), normalised.
        mask (torch.Tensor, optional): (B,), bool, whether to blank an image's
            reference. Defaults to None, which blanks none.
        augmented (torch.Tensor, optional): (B, C, H, W), normalised: what the
            network is shown as each image's reference, while the residual is
            taken to the reference itself. Defaults to None: the reference.

    Example:
        >>> inputs = ReferredImages(
        ...     torch.zeros(2, 3, 8, 8), torch.tensor([1, 0])
        ... )
        >>> inputs.rows().shape, inputs.anchor(torch.rand(2, 5)).shape
        (torch.Size([2, 3, 8, 8]), torch.Size([2, 10]))
    """

    images: torch.Tensor
    references: torch.Tensor
    mask: torch.Tensor | None = None
    augmented: torch.Tensor | None = None

    def without_images(self) -> 'ReferredImages':
        """A copy with only the parts that :meth:`anchor` needs."""
        references = self.references
        if references.dim() > 1:
            references = references[:0]
        augmented = None if self.augmented is None else self.augmented[:0]
        return ReferredImages(
            self.images[:0], references, self.mask, augmented
        )

    def rows(self) -> torch.Tensor:
        """The images whose features the network has to compute, each once."""
        rows = [self.images]
        if self.references.dim() > 1:
            rows.append(self.references)
        if self.augmented is not None:
            rows.append(self.augmented)
        return rows[0] if len(rows) == 1 else torch.cat(rows)

    def anchor(self, features: torch.Tensor, axis: int = 1) -> torch.Tensor:
        """Anchor the features of :meth:`rows`.

        Args:
            features (torch.Tensor): Features of the rows, in their order.
            axis (int): The channel axis. Defaults to 1.

        Shape:
            - features: (B, 2B or 3B, ...)
            - output: (B, ...), with twice the channels
        """
        given = self.references.dim() > 1
        parts = 1 + given + (self.augmented is not None)
        features, *others = features.chunk(parts)
        if given:
            references = others[0]
        else:
            references = features[self.references.to(features.device)]
        residuals = features - references
        if self.augmented is not None:
            references = others[-1]
        if self.mask is not None:
            rows = self.mask.to(features.device)
            rows = rows.view(-1, *[1] * (features.dim() - 1))
            references = references.masked_fill(rows, 0)
        return torch.cat([references, residuals], axis)


def anchor(images: torch.Tensor, references: torch.Tensor) -> torch.Tensor:
    """Anchor images: ``[r, x - r]`` on the channel axis.

    Args:
        images (torch.Tensor): Images ``x``, normalised.
        references (torch.Tensor): One reference ``r`` for each image,
            normalised in the same way.

    Shape:
        - images, references: (B, C, H, W)
        - output: (B, 2C, H, W), the reference in the first C channels

    Raises:
        ValueError: The shapes differ.

    Example:
        >>> x, r = torch.ones(1, 1, 1, 1), torch.full((1, 1, 1, 1), 3.0)
        >>> anchor(x, r).flatten().tolist()
        [3.0, -2.0]
    """
    _check_one_each(images, references.shape)
    return torch.cat([references, images - references], dim=1)


def _check_one_each(images: torch.Tensor, shape: Sequence[int]) -> None:
    if shape != images.shape:
        raise ValueError(
            "Expected one reference of the images' shape "
            f'{tuple(images.shape)} for each of them, but got references of '
            f'shape {tuple(shape)}. References have to go through '
            'the same resizing and cropping as the images.'
        )


def anchor_batch(
    images: torch.Tensor,
    references: torch.Tensor,
    partners: torch.Tensor | None,
    mask: RowMask,
    augmented: torch.Tensor | None = None,
    keep: torch.Tensor | None = None,
) -> torch.Tensor:
    """Anchor a training batch and blank the references of masked rows.

    It does the same as :func:`anchor` and then
    :func:`~mmanchor.functional.blank_references`, without intermediate
    tensors.

    Args:
        images (torch.Tensor): Images ``x``, normalised.
        references (torch.Tensor): The images that references are taken from.
        partners (torch.Tensor, optional): (B,), the index into
            ``references`` for each image. None means that ``references`` has
            one for each image, in order.
        mask (RowMask): Which rows to mask.
        augmented (torch.Tensor, optional): What the network is shown instead
            of ``references``, in the same order; residuals are taken to
            ``references`` all the same. Defaults to None: ``references``.
        keep (torch.Tensor, optional): Pixels of the references of masked rows
            that stay as they are, see
            :func:`~mmanchor.functional.crop_pixels`. Defaults to None: no
            pixel.

    Shape:
        - images: (B, C, H, W)
        - references, augmented: (N, C, H, W), N = B without ``partners``
        - keep: (masked rows, 1, H, W), bool
        - output: (B, 2C, H, W)

    Raises:
        ValueError: The shapes differ.

    Example:
        >>> x = torch.tensor([1.0, 5.0]).view(2, 1, 1, 1)
        >>> anchor_batch(
        ...     x, x, torch.tensor([1, 0]), RowMask([False, True])
        ... ).flatten(1).tolist()
        [[5.0, -4.0], [0.0, 4.0]]
    """
    if images.requires_grad or references.requires_grad:
        # autograd does not support writing to `out=`
        if partners is not None:
            references = references.index_select(0, partners)
        anchored = anchor(images, references)
        first = anchored[:, : images.size(1)]
        if augmented is not None:
            if partners is not None:
                augmented = augmented.index_select(0, partners)
            first.copy_(augmented)
        _blank(first, mask, keep)
        return anchored
    count = len(references if partners is None else partners)
    _check_one_each(images, (count, *references.shape[1:]))
    batch, channels, *size = images.shape
    anchored = torch.empty(
        (batch, 2 * channels, *size),
        dtype=images.dtype,
        device=images.device,
        memory_format=_memory_format(images),
    )
    first, residuals = anchored.split(channels, dim=1)
    if partners is None:
        first.copy_(references)
    else:
        torch.index_select(references, 0, partners, out=first)
    torch.sub(images, first, out=residuals)
    if augmented is not None:
        if partners is None:
            first.copy_(augmented)
        else:
            torch.index_select(augmented, 0, partners, out=first)
    _blank(first, mask, keep)
    return anchored


def _blank(references, mask: RowMask, keep: torch.Tensor | None) -> None:
    """Blank masked rows in place, but for the pixels to keep."""
    if not mask.any:
        return
    if keep is not None:
        if mask.all:
            references.masked_fill_(~keep, 0)
        else:
            rows = mask.indices(references.device)[0]
            partly = references.index_select(0, rows).masked_fill(~keep, 0)
            references.index_copy_(0, rows, partly)
    elif mask.all:
        references.zero_()
    else:
        references.index_fill_(0, mask.indices(references.device)[0], 0)


def _memory_format(images: torch.Tensor) -> torch.memory_format:
    if not images.is_contiguous() and images.is_contiguous(
        memory_format=torch.channels_last
    ):
        return torch.channels_last
    return torch.contiguous_format


def anchor_to_all(
    images: torch.Tensor, references: torch.Tensor
) -> torch.Tensor:
    """Anchor every image to every reference, reference-major.

    Args:
        images (torch.Tensor): Images, normalised.
        references (torch.Tensor): References, normalised in the same way.

    Shape:
        - images: (B, C, H, W)
        - references: (K, C, H, W)
        - output: (K·B, 2C, H, W); the first B rows use the first reference

    Raises:
        ValueError: Images and references differ in C, H or W.

    Example:
        >>> x, r = torch.zeros(2, 3, 4, 4), torch.ones(5, 3, 4, 4)
        >>> anchor_to_all(x, r).shape
        torch.Size([10, 6, 4, 4])
    """
    check_same_size(images, references)
    pairs = (len(references), len(images), *images.shape[1:])
    return anchor(
        images.expand(pairs).flatten(0, 1),  # (K B) C H W
        references.unsqueeze(1).expand(pairs).flatten(0, 1),
    )


def check_same_size(images: torch.Tensor, references: torch.Tensor) -> None:
    """Check that images can be anchored to references.

    Raises:
        ValueError: Images and references differ in C, H or W.
    """
    if references.shape[1:] != images.shape[1:]:
        raise ValueError(
            "Expected references of the images' size (C, H, W) = "
            f'{tuple(images.shape[1:])}, but got '
            f'{tuple(references.shape[1:])}. Use the test pipeline that the '
            'references went through, or draw them again with it.'
        )


def fold(rows: torch.Tensor, num_references: int) -> torch.Tensor:
    """Split reference-major rows into a reference axis and a batch axis.

    Args:
        rows (torch.Tensor): A network's output for the rows of
            :func:`anchor_to_all`.
        num_references (int): K.

    Shape:
        - rows: (K·B, ...)
        - output: (K, B, ...)

    Example:
        >>> fold(torch.arange(6), 2).tolist()
        [[0, 1, 2], [3, 4, 5]]
    """
    return rows.unflatten(0, (num_references, -1))
