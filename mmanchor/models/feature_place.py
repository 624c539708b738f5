"""Anchors features inside the network rather than images."""

from contextlib import nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from mmpretrain.models import ImageClassifier
from torch import nn

from ..functional import (
    ReferredImages,
    find_place,
    find_stem,
    inflate,
    places_of,
    widen_layer,
)
from ..functional.folding import replaced_forward
from ..functional.place import (
    list_names,
    near_names,
    tensor_at,
    with_tensor_at,
)
from ..functional.stem import sizes_to_try

PROJECTION = 'anchor_projection'


class FeaturePlace:
    """Where a model anchors features rather than images.

    Layers that read the place anchor their input with the references that the
    model was given. At test, :mod:`.inference` replaces their forward, so
    that many references share the work before the place.

    Attributes:
        name (str): The argument ``anchor_at``.
        source (str): The module whose output is anchored, within the model.
        owner (str): Which part has the layers: ``'backbone'`` or ``'head'``.
        layers (List[str]): Names, within the owner, of the layers that read
            the anchored features.
        trunk (List[str]): Modules, within the model, that run before.
        axis (int): The channel axis.
        channels (int): C of the features.
    """

    def __init__(self, name, source, owner, layers, trunk, axis, channels):
        self.name = name
        self.source = source
        self.owner = owner
        self.layers = list(layers)
        self.trunk = list(trunk)
        self.axis = axis
        self.channels = channels
        self.referred: ReferredImages | None = None

    def is_after(self, stage: str) -> bool:
        """Whether features of a stage do not depend on references."""
        if self.owner == 'backbone':
            return False
        if self.layers == [PROJECTION]:  # of the output that the head reads
            return stage == 'backbone' != self.source
        return stage != 'pre_logits'

    def settings(self) -> dict:
        """Arguments of :func:`rebuild_place`."""
        if self.layers != [PROJECTION]:
            return dict(owner=self.owner)
        names = ('owner', 'source', 'axis', 'channels')
        return {name: getattr(self, name) for name in names}

    def referring(self, model, inputs: ReferredImages):
        """Create a context in which layers anchor features of these inputs.

        In training the references remain set until the next batch, because
        activation checkpointing runs layers again in the backward pass. In
        evaluation they are visible to this thread only.
        """
        if model.training:
            # images would occupy memory until the next batch
            self.referred = inputs.without_images()
            return nullcontext()
        owner = getattr(model, self.owner)
        layers = [owner.get_submodule(name) for name in self.layers]
        return replaced_forward(
            {layer: _Reading(layer, self.axis, inputs) for layer in layers}
        )

    def read(self, layer: Any, features: torch.Tensor) -> torch.Tensor:
        """Run a layer on features, which it anchors if they are not yet."""
        if features.size(self.axis) != layer.weight.size(1):
            if self.referred is None:
                raise ValueError(
                    f'Expected references for the features of {self.source}, '
                    'but there are none. Call the model rather than its '
                    'backbone.'
                )
            features = self.referred.anchor(features, self.axis)
        return type(layer).forward(layer, features)


class _Reading:
    """Replaces a layer's forward: anchor the features, then run it."""

    def __init__(self, layer, axis, inputs):
        self.layer, self.axis, self.inputs = layer, axis, inputs

    def __call__(self, features):
        anchored = self.inputs.anchor(features, self.axis)
        return type(self.layer).forward(self.layer, anchored)


class _AnchoringForward:
    """Replaces the forward of a layer that reads a place."""

    def __init__(self, layer: nn.Module, place: FeaturePlace):
        self.layer, self.place = layer, place

    def __call__(self, features):
        return self.place.read(self.layer, features)


class AnchorProjection(nn.Module):
    """A linear map that reads anchored features if no other layer can.

    It maps 2C to C channels and is initialised as ``[I, I]``, so that it
    returns ``h`` for every reference. A plain model's checkpoint lacks its
    weight, and loading it resets the map to ``[I, I]``.

    Args:
        channels (int): C.
        axis (int): The channel axis, 1 or -1.
        widened (bool): Whether it reads 2C channels. In a folded model it
            reads C. Defaults to True.

    Shape:
        - input: (B, 2C, H, W) with axis 1, (B, ..., 2C) with axis -1
        - output: the same with C

    Example:
        >>> h, r = torch.randn(2, 5, 7, 4)
        >>> anchored = torch.cat([r, h - r], -1)
        >>> torch.allclose(AnchorProjection(4, -1)(anchored), h, atol=1e-5)
        True
    """

    def __init__(self, channels: int, axis: int, widened: bool = True):
        super().__init__()
        self.axis = axis
        self.in_features = 2 * channels if widened else channels
        weight = torch.eye(channels)
        self.weight = nn.Parameter(inflate(weight) if widened else weight)
        self.register_parameter('bias', None)  # other code looks for it

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Project."""
        if self.axis == 1 and features.dim() > 2:
            return F.conv2d(features, self.weight[:, :, None, None])
        return F.linear(features, self.weight)

    def _load_from_state_dict(self, state_dict, prefix, *args):
        if prefix + 'weight' not in state_dict:
            start = torch.eye(len(self.weight)).to(self.weight)
            if self.weight.size(1) > len(start):
                start = inflate(start)
            state_dict[prefix + 'weight'] = start
        super()._load_from_state_dict(state_dict, prefix, *args)

    def extra_repr(self) -> str:
        """Show the channels in ``print(model)``."""
        return f'{self.weight.size(1)}, {self.weight.size(0)}'


class _Project:
    """A forward hook that passes a module's output through a projection."""

    def __init__(self, projection: nn.Module, which: int):
        self.projection, self.which = projection, which

    def __call__(self, _, __, output):
        features = self.projection(tensor_at(output, self.which))
        return with_tensor_at(output, self.which, features)


def anchor_features(
    model: ImageClassifier,
    anchor_at: str,
    keep_weights: bool,
    image_channels: int | None = None,
) -> tuple[FeaturePlace, int]:
    """Change a model in place to anchor features.

    Args:
        anchor_at (str): A module of the backbone, by name within it, or
            ``'head'``.
        image_channels (int, optional): C of the images. Defaults to None:
            read off the backbone.

    Returns:
        Tuple[FeaturePlace, int]: The place, and C of the images.

    Raises:
        TypeError: ``anchor_at`` is no string.
        ValueError: The backbone has no such place; see
            :func:`~mmanchor.functional.find_place`.
    """
    if not isinstance(anchor_at, str):
        raise TypeError(
            "Expected `anchor_at` to be 'image', 'head' or the name of one "
            f'module of the backbone, but got {anchor_at!r}. Name one place.'
        )
    channels = image_channels or _image_channels(model.backbone)
    if anchor_at == 'head':
        place = _place_of_head(model, channels, keep_weights)
    else:
        place = _place_in_backbone(model, anchor_at, channels, keep_weights)
    owner = getattr(model, place.owner)
    for name in place.layers:
        layer = owner.get_submodule(name)
        layer.forward = _AnchoringForward(layer, place)
    return place, channels


def _image_channels(backbone) -> int:
    return next(iter(find_stem(backbone).values())).in_channels


def _place_in_backbone(model, anchor_at, channels, keep_weights):
    backbone = model.backbone
    name = anchor_at.removeprefix('backbone.')
    images = _image(model, backbone, channels)
    try:
        found = find_place(backbone, name, backbone, images)
    except ValueError as error:
        known = places_of(backbone, backbone, images)
        raise ValueError(
            "Expected `anchor_at` to be 'image', 'head' or a place in "
            f'{type(backbone).__name__} that all of the features pass, but '
            f'{anchor_at!r} is none: {error}.'
            f'{near_names(name, ["image", "head", *known])} '
            f'Places are: {list_names(known) or "none"}; '
            "`anchor_at='head'` anchors what the head reads."
        ) from error
    layers = _widen(
        backbone, backbone.get_submodule(name), found, 0, keep_weights
    )
    trunk = [f'backbone.{one}' for one in found.trunk]
    source = f'backbone.{name}'
    return FeaturePlace(
        anchor_at,
        source,
        'backbone',
        layers,
        trunk,
        found.axis,
        found.channels,
    )


def _place_of_head(model, channels, keep_weights):
    if not model.with_head:
        raise ValueError(
            "Expected a model with a `head` for `anchor_at='head'`, but it "
            'has none. Add one, or name a place in the backbone.'
        )

    def run(images):
        return model.head.logits(ImageClassifier.extract_feat(model, images))

    images = _image(model, run, channels)
    name = 'neck' if model.with_neck else 'backbone'
    try:
        found = find_place(model, name, run, images, which=-1)
    except ValueError as error:
        raise ValueError(
            f"Expected `anchor_at='head'` with a {name} whose last output is "
            f'one tensor that the head reads, but {error}. Name a place in '
            'the backbone.'
        ) from error
    inside = [one.removeprefix('head.') for one in found.readers]
    layers = _widen(
        model.head,
        model.get_submodule(name),
        found._replace(readers=inside),
        -1,
        keep_weights,
    )
    return FeaturePlace(
        'head', name, 'head', layers, found.trunk, found.axis, found.channels
    )


def _widen(owner, source, found, which, keep_weights) -> list[str]:
    """Widen the layers that read the place, or add a projection."""
    for name in found.readers:
        layer: Any = owner.get_submodule(name)
        # a head is new where a backbone learns other classes
        widen_layer(name, layer, keep_weights, may_be_new=which == -1)
    if found.readers:
        return found.readers
    like = next(owner.parameters())
    projection = AnchorProjection(found.channels, found.axis).to(like)
    add_projection(owner, source, projection, which)
    return [PROJECTION]


def add_projection(
    owner: nn.Module, source: nn.Module, projection: nn.Module, which: int
) -> None:
    """Pass a module's output through a projection.

    Args:
        which (int): The index of the output, if there are several.
    """
    owner.add_module(PROJECTION, projection)
    source.register_forward_hook(_Project(projection, which))


def rebuild_place(
    model: nn.Module,
    owner: str,
    source: str | None = None,
    axis: int = 1,
    channels: int = 0,
) -> None:
    """Add the projection of a folded model to a plain model.

    Args:
        owner (str): ``'backbone'`` or ``'head'``.
        source (str, optional): The module whose output is projected. Defaults
            to None: there is no projection.
    """
    if source is not None:
        projection = AnchorProjection(channels, axis, widened=False)
        which = -1 if owner == 'head' else 0
        module = model.get_submodule(source)
        add_projection(getattr(model, owner), module, projection, which)


def _image(model, run, channels) -> torch.Tensor:
    """Create a random image of a size that the backbone accepts."""
    like = next(model.backbone.parameters())
    generator = torch.Generator().manual_seed(0)
    failure = ''
    for size in sizes_to_try(model.backbone, (64, 224, 256, 32)):
        image = torch.randn(1, channels, *size, generator=generator).to(like)
        modes = {module: module.training for module in model.modules()}
        model.eval()
        try:
            with torch.no_grad(), torch.random.fork_rng(devices=[]):
                run(image)
        except Exception as error:
            failure = f'with images of {size} it failed: {error}'
        else:
            return image
        finally:
            for module, mode in modes.items():
                module.training = mode
    raise ValueError(
        'Expected a forward pass of '
        f'{type(model.backbone).__name__} to show where features go, but '
        f"{failure}. Anchor images instead: `anchor_at='image'`."
    )
