"""Widens backbones to read 2C channels."""

import inspect
from collections.abc import Sequence

import torch
from mmpretrain.registry import MODELS
from torch import nn

from ..functional import widen_stem


def widen_backbone(
    backbone: nn.Module,
    config: dict | nn.Module,
    stem: Sequence[str] | None = None,
    image_channels: int | None = None,
) -> tuple[nn.Module, list[str], int]:
    """Widen a backbone's stem, or build it for 2C channels if it has none.

    A backbone without any convolution (T2T-ViT unfolds the image) is built
    anew with twice its ``in_channels``. Since its layers have no halves to
    copy a plain weight to, it refuses a plain model's weights.

    Args:
        stem (Sequence[str], optional): Names of the layers that read the
            image, or ``[]`` for a backbone that reads 2C channels already.
            Defaults to None, which finds them.
        image_channels (int, optional): C, which is needed with ``stem=[]`` and
            not allowed otherwise. Defaults to None, which reads it off the
            stem.

    Returns:
        Tuple[torch.nn.Module, List[str], int]: The backbone, the names of the
        widened layers and C.

    Raises:
        ValueError: See :func:`~mmanchor.functional.find_stem`; or only one of
            ``stem=[]`` and ``image_channels`` is given.

    Example:
        >>> net = nn.Sequential(nn.Conv2d(3, 8, 3))
        >>> widen_backbone(net, net)[1:]
        (['0'], 3)
    """
    if (stem is not None and len(stem) == 0) != bool(image_channels):
        raise ValueError(
            'Expected `image_channels` with `stem=[]`, for a backbone '
            f'that was built for 2C channels, but got stem={stem!r} and '
            f'image_channels={image_channels!r}. Set both or neither.'
        )
    if stem is None and not any(
        isinstance(m, nn.Conv2d) for m in backbone.modules()
    ):
        argument = inspect.signature(type(backbone)).parameters.get(
            'in_channels'
        )
        if argument is not None and isinstance(config, dict):
            channels = config.get('in_channels', argument.default)
            backbone = MODELS.build({**config, 'in_channels': 2 * channels})
            image_channels = channels
    if image_channels:
        backbone._register_load_state_dict_pre_hook(
            _refuse_plain_weights, with_module=True
        )
        return backbone, [], image_channels
    widened = widen_stem(backbone, stem, has_weights(backbone, config))
    channels = next(iter(widened.values())).in_channels // 2
    return backbone, list(widened), channels


def has_weights(backbone: nn.Module, config: dict | nn.Module) -> bool:
    """Whether a backbone was built with pretrained weights.

    LoRAModel loads its weights by itself.
    """
    return (
        isinstance(config, nn.Module)
        or bool(config.get('pretrained'))
        or any(
            getattr(module, 'is_init', False) for module in backbone.modules()
        )
    )


def _refuse_plain_weights(backbone, state_dict, prefix, *_):
    for name, own in backbone.state_dict().items():
        saved = state_dict.get(prefix + name)
        if _is_half(saved, own):
            raise ValueError(
                f'Expected weights of a {type(backbone).__name__} for '
                f'anchored images, but {prefix}{name} of the checkpoint has '
                f'shape {tuple(saved.shape)} rather than '
                f"{tuple(own.shape)}, as a plain model's. It has no "
                'convolution that reads the image, so that a plain model '
                "can't be its exact start: train it from scratch, or load "
                'an anchored checkpoint.'
            )


def _is_half(saved: torch.Tensor | None, own: torch.Tensor) -> bool:
    """Whether shapes are equal, except that some axes are half as long."""
    return (
        saved is not None
        and saved.shape != own.shape
        and saved.dim() == own.dim()
        and all(n in (m, 2 * m) for m, n in zip(saved.shape, own.shape))
    )
