"""The classifier that reads a folded model from disk."""

from collections.abc import Sequence
from typing import Any

import torch
from mmpretrain.models import ImageClassifier
from mmpretrain.registry import MODELS
from torch import nn

from .feature_place import rebuild_place
from .folding import add_reference_map, keep_image_shape

MAP_KEY = '.reference_map'


@MODELS.register_module()
class FoldedImageClassifier(ImageClassifier):
    """A model folded by :func:`~mmanchor.models.fold_reference`.

    A plain ``ImageClassifier`` would ignore the reference's maps in a folded
    model's weights and answer wrongly. ``tools/fold.py`` writes a config of
    this class together with the weights. The maps are zero until weights are
    loaded.

    Args:
        *args: Arguments of ``ImageClassifier``.
        image_shape (Sequence[int]): (C, H, W) of the folded reference, as
            the backbone sees it. Images need the same size.
        stem (Sequence[str]): Names, within the backbone, of the layers whose
            outputs a map is added to.
        place (dict, optional): For a model that anchored features, the
            arguments of :func:`~.feature_place.rebuild_place`. Then ``stem``
            names layers of their ``owner``. Defaults to None.
        **kwargs: Arguments of ``ImageClassifier``.

    Shape:
        - inputs: (B, C, H, W)
        - output, ``mode='tensor'``: (B, num_classes)

    Raises:
        ValueError: ``stem`` names a layer that the backbone doesn't have, or
            a state dict lacks the map of such a layer or has a map of
            another layer. In the forward: images have another size.

    Example:
        >>> model = FoldedImageClassifier(
        ...     backbone=dict(type='ResNet_CIFAR', depth=18),
        ...     neck=dict(type='GlobalAveragePooling'),
        ...     head=dict(
        ...         type='LinearClsHead', num_classes=10, in_channels=512
        ...     ),
        ...     image_shape=(3, 32, 32),
        ...     stem=['conv1'],
        ... )
        >>> model(torch.rand(4, 3, 32, 32)).shape
        torch.Size([4, 10])
    """

    backbone: nn.Module

    def __init__(
        self,
        *args,
        image_shape: Sequence[int],
        stem: Sequence[str],
        place: dict | None = None,
        **kwargs,
    ):
        super().__init__(*args, **kwargs)
        self.stem = list(stem)
        self.owner = 'backbone'
        if place is not None:
            self.owner = place['owner']
            rebuild_place(self, **place)
        owner = getattr(self, self.owner)
        layers = dict(owner.named_modules())
        unknown = [name for name in self.stem if name not in layers]
        if unknown:
            raise ValueError(
                'Expected `stem` to name layers of '
                f'{type(owner).__name__}, but got '
                f'{", ".join(unknown)}. Use the config that was written with '
                'the folded weights.'
            )
        for name in self.stem:
            add_reference_map(layers[name], torch.zeros(()))
        keep_image_shape(self.backbone, image_shape)

    def _load_from_state_dict(self, state_dict, prefix, *args):
        wanted = {
            f'{prefix}{self.owner}.{name}{MAP_KEY}': name for name in self.stem
        }
        saved = {
            key
            for key in state_dict
            if key.startswith(prefix) and key.endswith(MAP_KEY)
        }
        missing, others = sorted(set(wanted) - saved), saved - set(wanted)
        if missing or others:
            got = (
                f'none for {", ".join(missing)}'
                if missing
                else f'also {", ".join(sorted(others))}'
            )
            raise ValueError(
                f'Expected a reference map for {", ".join(self.stem)} and no '
                f'other layer in the weights of a folded model, but got {got}.'
                ' Load what `tools/fold.py` wrote with this config.'
            )
        for key, name in wanted.items():
            layer: Any = getattr(self, self.owner).get_submodule(name)
            layer.reference_map = layer.reference_map.new_empty(
                state_dict[key].shape
            )
        super()._load_from_state_dict(state_dict, prefix, *args)
