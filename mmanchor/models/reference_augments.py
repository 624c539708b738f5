"""Augmented references: the network reads ``[A(r), x - r]``."""

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.dataset import Compose
from mmengine.registry import DefaultScope
from mmpretrain.registry import TRANSFORMS

from ..utils.names import did_you_mean
from ..utils.seeding import seeded_generators

_TORCHVISION = 'torchvision/'
# of MMCV: they choose among other transforms and change no image themselves
_CHOOSING = ('RandomApply', 'RandomChoice')


class ReferenceAugments:
    """Augments a batch of normalised references.

    Each transform reads a batch of bytes, (N, C, H, W), and draws its random
    numbers once for the batch: all references are cropped, flipped or coloured
    alike, as in the code of Δ-UQ and AMP. That code applies transforms after
    normalisation, where torchvision's colour transforms clip values to [0, 1].
    Here they read pixels, in the channel order of the network, and the result
    is normalised again.

    Args:
        transforms (Sequence[dict]): Configs: torchvision's transforms by their
            names in MMPretrain, such as ``torchvision/RandomResizedCrop``, or
            ``RandomApply`` and ``RandomChoice`` of them.

    Raises:
        TypeError: ``transforms`` is not a list of configs.
        ValueError: The list is empty, or a transform works on single images.

    Example:
        >>> flip = dict(type='torchvision/RandomHorizontalFlip', p=1)
        >>> references = torch.tensor([0.0, 1.0]).expand(2, 3, 1, 2)
        >>> mean, std = torch.tensor([100.0]), torch.tensor([50.0])
        >>> ReferenceAugments([flip])(references, mean, std, 0)[0, 0]
        tensor([[1., 0.]])

    Source: Δ-UQ (Thiagarajan et al., NeurIPS 2022, arXiv 2207.07235) and AMP
    (Anirudh and Thiagarajan, arXiv 2207.04125), whose code crops, flips,
    jitters colours, blurs and takes colours away.
    """

    def __init__(self, transforms: Sequence[dict]):
        if not isinstance(transforms, (list, tuple)):
            raise TypeError(
                'Expected `reference_augments` to be a list of configs, but '
                f'got {transforms!r}. Write '
                "`[dict(type='torchvision/ColorJitter', brightness=0.5)]`."
            )
        if not transforms:
            raise ValueError(
                'Expected `reference_augments` to name a transform, but the '
                'list is empty. Leave it out to augment no references.'
            )
        _check_transforms(transforms)
        with DefaultScope.overwrite_default_scope('mmpretrain'):
            self.transforms = Compose(transforms)

    @torch.no_grad()
    def __call__(
        self,
        references: torch.Tensor,
        mean: torch.Tensor,
        std: torch.Tensor,
        seed: int,
    ) -> torch.Tensor:
        """Augment references.

        Args:
            references (torch.Tensor): Normalised references.
            mean (torch.Tensor): The mean that normalised them.
            std (torch.Tensor): The standard deviation that normalised them. If
                no value is above 1, pixels range from 0 to 1, otherwise from 0
                to 255.
            seed (int): The seed of the transforms. The random state of the
                process does not change.

        Shape:
            - references: (N, C, H, W)
            - mean, std: broadcast with (N, C, H, W)
            - output: (N, C, H, W), normalised

        Raises:
            ValueError: A transform failed, or changed the shape.
        """
        range_ = self._range(std)
        pixels = (references * std + mean) * (255 / range_)
        pixels = pixels.round().clamp(0, 255).to(torch.uint8)
        with seeded_generators(seed):
            try:
                results: Any = self.transforms(dict(img=pixels))
                found = results['img']
            except Exception as error:  # a transform may raise anything
                raise ValueError(
                    'Expected `reference_augments` that work on batches of '
                    f'bytes of shape {tuple(pixels.shape)}, but one failed: '
                    f'{error}. Change or drop it.'
                ) from error
        if (
            not isinstance(found, torch.Tensor)
            or found.shape != pixels.shape
            or found.dtype != pixels.dtype
        ):
            got = (
                f'{tuple(found.shape)} and {found.dtype}'
                if isinstance(found, torch.Tensor)
                else type(found).__name__
            )
            raise ValueError(
                'Expected augmented references of shape '
                f'{tuple(pixels.shape)} and {pixels.dtype}, as before, but '
                f'got {got}. Set `size` of the crop to that of the images, '
                'and drop transforms that change the type.'
            )
        augmented = found.to(references.dtype) * (range_ / 255)
        return (augmented - mean) / std

    def _range(self, std: torch.Tensor) -> int:
        # read once: on a GPU, reading it waits
        if not hasattr(self, '_pixel_range'):
            self._pixel_range = 255 if float(std.max()) > 1 else 1
        return self._pixel_range


def _check_transforms(transforms) -> None:
    for one in transforms:
        if isinstance(one, (list, tuple)):  # candidates of a RandomChoice
            _check_transforms(one)
            continue
        name = one.get('type') if isinstance(one, dict) else one
        if not isinstance(name, str) or not isinstance(one, dict):
            raise TypeError(
                'Expected each of `reference_augments` to be a config with a '
                f'name as `type`, but got {one!r}. Write '
                "`dict(type='torchvision/ColorJitter', brightness=0.5)`."
            )
        if name in _CHOOSING:
            inner = one.get('transforms') or []
            _check_transforms([inner] if isinstance(inner, dict) else inner)
        elif not name.startswith(_TORCHVISION) or name not in TRANSFORMS:
            known = [
                key for key in TRANSFORMS.module_dict if _TORCHVISION in key
            ]
            advice = did_you_mean(_TORCHVISION + name.split('/')[-1], known)
            raise ValueError(
                "Expected `reference_augments` to name torchvision's "
                "transforms, such as 'torchvision/ColorJitter', which work "
                f'on batches of tensors, or {" and ".join(_CHOOSING)} of '
                f'them, but got {name!r}. {advice or "Change it."}'
            )
