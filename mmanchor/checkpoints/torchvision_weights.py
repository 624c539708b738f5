"""Weights under torchvision's names, as those of MMPretrain's models.

The anchoring paper's released checkpoints are torchvision's models with six
channels in the first layer. Where ResNets for CIFAR have other names for two
layers, those are taken as well.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import torch
from torch import nn
from torchvision import models

from .weight_files import Weights


@dataclass(frozen=True)
class Architecture:
    """A torchvision model and where its weights are in MMPretrain's.

    Attributes:
        build (Callable): Makes torchvision's model.
        stem (str): The weight that reads the image.
        head (str): The last layer.
        names (Sequence[Tuple[str, str]]): Regular expressions and what to
            put in their place, in this order.
        config (str): Configs of the MMPretrain model, but for
            ``_DATA.py`` or ``_anchored_DATA.py``, in ``configs/converted``.
    """

    build: Callable[[], nn.Module]
    stem: str
    head: str
    names: Sequence[tuple[str, str]]
    config: str


def _resnet18_cifar() -> nn.Module:
    net = models.resnet18()
    net.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
    return net


_RESNET = (
    (r'^fc\.', 'head.fc.'),
    (r'^(?!head\.)', 'backbone.'),
)
_VIT = (
    (r'^class_token$', 'backbone.cls_token'),
    (r'^conv_proj\.', 'backbone.patch_embed.projection.'),
    (r'^encoder\.pos_embedding$', 'backbone.pos_embed'),
    (r'^encoder\.layers\.encoder_layer_(\d+)\.', r'backbone.layers.\1.'),
    (r'^encoder\.ln\.', 'backbone.ln1.'),
    (r'^heads\.head\.', 'head.layers.head.'),
    (r'\.ln_([12])\.', r'.ln\1.'),
    (r'\.self_attention\.in_proj_', '.attn.qkv.'),
    (r'\.self_attention\.out_proj\.', '.attn.proj.'),
    (r'\.mlp\.0\.', '.ffn.layers.0.0.'),
    (r'\.mlp\.3\.', '.ffn.layers.1.'),
)
_SWIN = (
    (r'^features\.0\.0\.', 'backbone.patch_embed.projection.'),
    (r'^features\.0\.2\.', 'backbone.patch_embed.norm.'),
    # stages and what merges patches before the next one take turns
    *(
        (rf'^features\.{2 * stage + 1}\.', f'backbone.stages.{stage}.blocks.')
        for stage in range(4)
    ),
    *(
        (rf'^features\.{2 * stage}\.', f'backbone.stages.{stage}.downsample.')
        for stage in range(1, 4)
    ),
    (r'^norm\.', 'backbone.norm3.'),
    (r'^head\.', 'head.fc.'),
    (r'\.attn\.', '.attn.w_msa.'),
    (r'\.mlp\.0\.', '.ffn.layers.0.0.'),
    (r'\.mlp\.3\.', '.ffn.layers.1.'),
)

ARCHITECTURES = {
    'resnet18_cifar': Architecture(
        _resnet18_cifar, 'conv1.weight', 'fc', _RESNET, 'resnet18'
    ),
    'vit_b_16': Architecture(
        models.vit_b_16, 'conv_proj.weight', 'heads.head', _VIT, 'vit-b16'
    ),
    'swin_v2_t': Architecture(
        models.swin_v2_t, 'features.0.0.weight', 'head', _SWIN, 'swinv2-t'
    ),
    'swin_v2_s': Architecture(
        models.swin_v2_s, 'features.0.0.weight', 'head', _SWIN, 'swinv2-s'
    ),
    'swin_v2_b': Architecture(
        models.swin_v2_b, 'features.0.0.weight', 'head', _SWIN, 'swinv2-b'
    ),
}

# other names for the same: of a well-known ResNet for CIFAR, and of
# torchvision before 0.14
_ALIASES = (
    (r'\.shortcut\.', '.downsample.'),
    (r'^linear\.', 'fc.'),
    (r'\.mlp\.linear_1\.', '.mlp.0.'),
    (r'\.mlp\.linear_2\.', '.mlp.3.'),
)


def rename_aliases(weights: Weights) -> Weights:
    """Give every weight the name that torchvision gives it today.

    Example:
        >>> list(rename_aliases({'linear.bias': 0}))
        ['fc.bias']
    """
    return {_renamed(name, _ALIASES): w for name, w in weights.items()}


def misfits(weights: Weights, arch: str) -> list[str]:
    """What keeps weights from being those of an architecture.

    Neither the number of channels nor that of classes does.

    Args:
        weights (Dict[str, torch.Tensor]): By torchvision's names.
        arch (str): One of ``ARCHITECTURES``.

    Returns:
        List[str]: One line for each weight that is missing, has another
        shape or is not known.

    Example:
        >>> misfits({'fc.bias': torch.zeros(7)}, 'resnet18_cifar')[0]
        'conv1.weight is missing'
    """
    wanted = _shapes(arch)
    lines = [f'{name} is missing' for name in wanted if name not in weights]
    for name, weight in weights.items():
        if name not in wanted:
            lines.append(f'{name} is not known')
        elif _compared(name, weight.shape, arch) != _compared(
            name, wanted[name], arch
        ):
            lines.append(
                f'{name} has the shape {tuple(weight.shape)} rather '
                f'than {tuple(wanted[name])}'
            )
    return lines


def find_architecture(weights: Weights) -> str | None:
    """The architecture that weights are of, if it is one of these.

    Example:
        >>> find_architecture(models.resnet50().state_dict()) is None
        True
    """
    fitting = (arch for arch in ARCHITECTURES if not misfits(weights, arch))
    return next(fitting, None)


def rename(weights: Weights, arch: str) -> Weights:
    """The weights of MMPretrain's model that answers as torchvision's.

    Args:
        weights (Dict[str, torch.Tensor]): By torchvision's names, without
            :func:`misfits`.
        arch (str): One of ``ARCHITECTURES``.

    Returns:
        Dict[str, torch.Tensor]: By MMPretrain's names.
    """
    renamed = {}
    for name, weight in weights.items():
        target = _renamed(name, ARCHITECTURES[arch].names)
        if target.endswith('w_msa.qkv.bias'):
            # that of the keys is never added, neither here nor there
            query, _, value = weight.chunk(3)
            target = target[: -len('qkv.bias')]
            renamed[target + 'q_bias'] = query.clone()
            renamed[target + 'v_bias'] = value.clone()
            continue
        if target.endswith('downsample.reduction.weight'):
            weight = _patches_last(weight)
        elif target.endswith('relative_position_index'):
            weight = weight.reshape(round(weight.numel() ** 0.5), -1)
        renamed[target] = weight
    return renamed


def _patches_last(weight):
    """From columns of (column, row, channel) to (channel, row, column).

    torchvision puts four neighbours one after another, going down before
    right; MMPretrain unfolds them, channel by channel, as one reads.
    """
    return weight.unflatten(1, (2, 2, -1)).permute(0, 3, 2, 1).flatten(1)


def _renamed(name, names):
    for pattern, replacement in names:
        name = re.sub(pattern, replacement, name)
    return name


@cache
def _shapes(arch):
    with torch.device('meta'):  # no memory, and no time to fill it
        net = ARCHITECTURES[arch].build()
    return {name: w.shape for name, w in net.state_dict().items()}


def _compared(name, shape, arch):
    architecture = ARCHITECTURES[arch]
    if name == architecture.stem:
        return shape[:1] + shape[2:]
    if name in (f'{architecture.head}.weight', f'{architecture.head}.bias'):
        return shape[1:]
    return shape
