"""Translates torchvision's names of weights into MMPretrain's.

The checkpoints that the anchoring paper released are of torchvision's models
with six channels in the first layer.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import torch
from torch import nn
from torchvision import models

Weights = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Architecture:
    """A torchvision model, and how MMPretrain names its weights.

    Attributes:
        build (Callable): Builds torchvision's model.
        stem (str): Name of the weight that reads the image.
        head (str): Name of the last layer.
        names (Sequence[Tuple[str, str]]): Regular expressions and their
            replacements, to apply in this order.
        config (str): Prefix of the model's configs in ``configs/converted``;
            ``_DATA.py`` or ``_anchored_DATA.py`` follows it.
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


_RESNET = ((r'^fc\.', 'head.fc.'), (r'^(?!head\.)', 'backbone.'))
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
    # Stages have odd numbers; the layers that merge patches between stages
    # have even ones.
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

# Older names of the same layers: in a widely used ResNet for CIFAR, and in
# torchvision before 0.14.
_ALIASES = (
    (r'\.shortcut\.', '.downsample.'),
    (r'^linear\.', 'fc.'),
    (r'\.mlp\.linear_1\.', '.mlp.0.'),
    (r'\.mlp\.linear_2\.', '.mlp.3.'),
)


def to_current_names(weights: Weights) -> Weights:
    """Rename weights to the names that torchvision uses today.

    Example:
        >>> list(to_current_names({'linear.bias': 0}))
        ['fc.bias']
    """
    return {_substitute(name, _ALIASES): w for name, w in weights.items()}


def find_mismatches(weights: Weights, arch: str) -> list[str]:
    """List how weights differ from those of an architecture.

    Any number of input channels and of classes is accepted.

    Returns:
        List[str]: One line for each weight that is missing, unknown or of
        another shape.

    Example:
        >>> find_mismatches({'fc.bias': torch.zeros(7)}, 'resnet18_cifar')[0]
        'conv1.weight is missing'
    """
    wanted = _shapes(arch)
    lines = [f'{name} is missing' for name in wanted if name not in weights]
    for name, weight in weights.items():
        if name not in wanted:
            lines.append(f'{name} is unknown')
        elif _comparable_shape(name, weight.shape, arch) != _comparable_shape(
            name, wanted[name], arch
        ):
            lines.append(
                f'{name} has the shape {tuple(weight.shape)} rather '
                f'than {tuple(wanted[name])}'
            )
    return lines


def find_architecture(weights: Weights) -> str | None:
    """Find the architecture that weights belong to; None if there is none.

    Example:
        >>> find_architecture(models.resnet50().state_dict()) is None
        True
    """
    for arch in ARCHITECTURES:
        if not find_mismatches(weights, arch):
            return arch
    return None


def to_mmpretrain_names(weights: Weights, arch: str) -> Weights:
    """Convert weights so that MMPretrain's model gives the same logits.

    Args:
        weights (Dict[str, torch.Tensor]): Weights under torchvision's names,
            for which :func:`find_mismatches` finds nothing.
    """
    renamed = {}
    for name, weight in weights.items():
        target = _substitute(name, ARCHITECTURES[arch].names)
        if target.endswith('w_msa.qkv.bias'):
            # Neither library ever adds the bias of the keys.
            query, _, value = weight.chunk(3)
            target = target[: -len('qkv.bias')]
            renamed[target + 'q_bias'] = query.clone()
            renamed[target + 'v_bias'] = value.clone()
            continue
        if target.endswith('downsample.reduction.weight'):
            weight = _reorder_merged_patches(weight)
        elif target.endswith('relative_position_index'):
            weight = weight.reshape(round(weight.numel() ** 0.5), -1)
        renamed[target] = weight
    return renamed


def _reorder_merged_patches(weight):
    """Reorder columns from (column, row, channel) to (channel, row, column).

    torchvision concatenates four neighbouring patches, column by column.
    MMPretrain unfolds them channel by channel, row by row.
    """
    return weight.unflatten(1, (2, 2, -1)).permute(0, 3, 2, 1).flatten(1)


def _substitute(name, names):
    for pattern, replacement in names:
        name = re.sub(pattern, replacement, name)
    return name


@cache
def _shapes(arch):
    with torch.device('meta'):  # allocates and initialises nothing
        net = ARCHITECTURES[arch].build()
    return {name: w.shape for name, w in net.state_dict().items()}


def _comparable_shape(name, shape, arch):
    architecture = ARCHITECTURES[arch]
    if name == architecture.stem:
        return shape[:1] + shape[2:]
    if name in (f'{architecture.head}.weight', f'{architecture.head}.bias'):
        return shape[1:]
    return shape
