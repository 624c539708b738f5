"""RegNetY, which MMPretrain lacks and torchvision has."""

from typing import Any

import torch
from mmpretrain.models.backbones.base_backbone import BaseBackbone
from mmpretrain.registry import MODELS
from torch import nn
from torchvision.models import get_model, list_models

PREFIX = 'regnet_y_'


@MODELS.register_module()
class RegNetY(BaseBackbone):
    """torchvision's RegNetY without its pooling and linear layer.

    Names of weights are torchvision's, so that its checkpoints load with
    ``init_cfg=dict(type='Pretrained', checkpoint=...)``. Without one, weights
    are drawn as torchvision draws them.

    Args:
        arch (str): What follows ``regnet_y_`` in torchvision. Defaults to
            ``'800mf'``, of 784 channels.
        init_cfg (dict | list, optional): Initialisation. Defaults to None.

    Shape:
        - images: (B, 3, H, W)
        - output: ((B, channels, H / 32, W / 32), )

    Raises:
        ValueError: torchvision has no such model.

    Source: I. Radosavovic et al., Designing Network Design Spaces, CVPR 2020.

    Example:
        >>> net = RegNetY('400mf')
        >>> net(torch.zeros(2, 3, 64, 64))[0].shape
        torch.Size([2, 440, 2, 2])
    """

    stem: nn.Module
    trunk_output: nn.Module

    def __init__(self, arch: str = '800mf', init_cfg=None):
        known = [
            name[len(PREFIX) :] for name in list_models(include=f'{PREFIX}*')
        ]
        if arch not in known:
            raise ValueError(
                f'Expected `arch` to be one of {known}, but got {arch!r}.'
            )
        super().__init__(init_cfg)
        network: Any = get_model(PREFIX + arch, weights=None)
        self.stem = network.stem
        self.trunk_output = network.trunk_output

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor]:
        """Features of the last stage."""
        return (self.trunk_output(self.stem(x)),)
