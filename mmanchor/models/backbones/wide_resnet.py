"""Wide residual networks for small images."""

import torch
from mmpretrain.models.backbones.base_backbone import BaseBackbone
from mmpretrain.registry import MODELS
from torch import nn


class _Block(nn.Module):
    """Two 3x3 convolutions, each after BatchNorm and ReLU."""

    def __init__(self, in_channels: int, channels: int, stride: int):
        super().__init__()
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.conv1 = nn.Conv2d(
            in_channels, channels, 3, stride, padding=1, bias=False
        )
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.relu = nn.ReLU(inplace=True)
        self.shortcut = None
        if stride != 1 or in_channels != channels:
            self.shortcut = nn.Conv2d(
                in_channels, channels, 1, stride, bias=False
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        active = self.relu(self.bn1(x))
        if self.shortcut is not None:  # it also reads normalised features
            x = self.shortcut(active)
        return x + self.conv2(self.relu(self.bn2(self.conv1(active))))


@MODELS.register_module()
class WideResNet_CIFAR(BaseBackbone):
    """WRN-``depth``-``widen_factor``, without dropout, for 32 px.

    With ``depth=40, widen_factor=2`` and a linear head of ten classes it has
    2.2 million parameters.

    Args:
        depth (int): 6n + 4, for n blocks in each of three stages. Defaults
            to 40.
        widen_factor (int): Stages have 16, 32 and 64 times as many channels.
            Defaults to 2.
        in_channels (int): Channels of the image. Defaults to 3.
        init_cfg (dict | list, optional): Initialisation. Defaults to He's by
            fan-out, and 1 and 0 for BatchNorm.

    Shape:
        - images: (B, C, H, W)
        - output: ((B, 64 * widen_factor, H / 4, W / 4), )

    Raises:
        ValueError: An argument is out of range.

    Source: S. Zagoruyko and N. Komodakis, Wide Residual Networks, BMVC 2016.

    Example:
        >>> net = WideResNet_CIFAR(depth=10, widen_factor=1)
        >>> net(torch.zeros(2, 3, 32, 32))[0].shape
        torch.Size([2, 64, 8, 8])
    """

    def __init__(
        self,
        depth: int = 40,
        widen_factor: int = 2,
        in_channels: int = 3,
        init_cfg=(
            dict(type='Kaiming', layer='Conv2d', mode='fan_out'),
            dict(type='Constant', val=1, layer='BatchNorm2d'),
        ),
    ):
        if depth < 10 or depth % 6 != 4:
            raise ValueError(
                'Expected `depth` to be 6n + 4 with n at least '
                f'1, as 16, 28 or 40, but got {depth}.'
            )
        if widen_factor < 1:
            raise ValueError(
                'Expected `widen_factor` to be at least 1, but '
                f'got {widen_factor}.'
            )
        super().__init__(init_cfg and list(init_cfg))
        blocks = (depth - 4) // 6
        self.conv1 = nn.Conv2d(in_channels, 16, 3, padding=1, bias=False)
        channels = 16
        stages = []
        for width, stride in ((16, 1), (32, 2), (64, 2)):
            width *= widen_factor
            stages.append(
                nn.Sequential(
                    _Block(channels, width, stride),
                    *(_Block(width, width, 1) for _ in range(blocks - 1)),
                )
            )
            channels = width
        self.stages = nn.Sequential(*stages)
        self.bn = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor]:
        """Features of the last stage."""
        return (self.relu(self.bn(self.stages(self.conv1(x)))),)
