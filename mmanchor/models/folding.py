"""Anchored models folded into plain models that add a constant map."""

import copy
import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from mmpretrain.models import ClsDataPreprocessor, ImageClassifier
from torch import nn

from ..functional import average_references, is_linear_in_weight, narrow
from ..utils.names import named_arguments
from .classifier import AnchoredImageClassifier
from .data_preprocessor import AnchoringDataPreprocessor
from .heads import unmask_head
from .inference.reference_passes import maps_of, normalised, trunk_of
from .inference.shared_stem import SharedStem


def fold_reference(model: AnchoredImageClassifier) -> ImageClassifier:
    """Fold one frozen reference into the stem.

    The result is a plain model of the host's own class. It reads C channels,
    costs as much as a plain model and answers as the anchored model does with
    its reference. Its weights are a plain model's, and each layer of the stem
    has a buffer ``reference_map`` that is added to its output.
    Branches of a folded model must not be merged (``switch_to_deploy``).

    Args:
        model (AnchoredImageClassifier): It has one reference in use and is
            not changed.

    Returns:
        ImageClassifier: In evaluation mode, without gradients.

    Raises:
        ValueError: There is no reference or more than one in use, the
            protocol does not average over the same references, ``average``
            is ``'calibrated'``, or the backbone has no stem to fold.

    Example:
        >>> model = AnchoredImageClassifier(
        ...     backbone=dict(type='ResNet_CIFAR', depth=18),
        ...     neck=dict(type='GlobalAveragePooling'),
        ...     head=dict(
        ...         type='LinearClsHead', num_classes=10, in_channels=512
        ...     ),
        ... ).eval()
        >>> model.reference_bank.fill(torch.rand(1, 3, 32, 32))
        >>> type(fold_reference(model)).__name__
        'ImageClassifier'
    """
    count = len(model.reference_bank.in_use[model.protocol.features_of])
    if count > 1:
        raise ValueError(
            f'Expected one reference in use to fold, but got {count}. Choose '
            'one with `model.reference_bank.use(1)`, or keep all with '
            '`FoldedReferences(model)`.'
        )
    if model.average == 'calibrated':
        raise ValueError(
            "Expected `average` to be 'logits' or 'probabilities' to fold one "
            "reference, but got 'calibrated', which halves its logits and a "
            'plain model does not. Set `model.average`, or use '
            '`FoldedReferences(model)`.'
        )
    folded, references, maps = _fold_stem(model)
    for name, map_ in zip(folded.widened_layers, maps):
        add_reference_map(folded.get_submodule(name), map_[0])
    keep_image_shape(folded.backbone, references.shape[1:])
    # the host annotates configs only, but accepts modules
    parts: dict[str, Any] = dict(
        backbone=folded.backbone,
        neck=folded.neck if folded.with_neck else None,
        head=unmask_head(folded.head) if folded.with_head else None,
        data_preprocessor=plain_preprocessor(folded.data_preprocessor),
    )
    plain = ImageClassifier(**parts)
    plain.to(references.device).eval().requires_grad_(False)
    return plain


class FoldedReferences(nn.Module):
    """An anchored model with K frozen references as constants, for export.

    It reads C channels, runs the stem once and the rest of the backbone K
    times.

    Args:
        model (AnchoredImageClassifier): It has K references in use and is not
            changed.
        references_per_pass (int, optional): How many references share a
            forward pass, at least 1. More need more memory. Defaults to
            None, which means all.

    Shape:
        - images: (B, C, H, W), normalised
        - output: (B, num_classes), logits whose softmax is the prediction

    Raises:
        ValueError: There is no reference, ``references_per_pass`` is out of
            range, the protocol does not average over the same references, or
            there is no stem to fold. In the forward: images have another size
            than the references.
    """

    def __init__(
        self,
        model: AnchoredImageClassifier,
        references_per_pass: int | None = None,
    ):
        super().__init__()
        if references_per_pass is not None and references_per_pass < 1:
            raise ValueError(
                'Expected `references_per_pass` to be at least '
                f'1, but got {references_per_pass}. Raise it.'
            )
        folded, references, maps = _fold_stem(model)
        self.model: Any = folded
        self.references_per_pass = references_per_pass or len(references)
        for index, of_layer in enumerate(maps):
            self.register_buffer(f'reference_maps_{index}', of_layer)
        self.model.backbone.image_shape = tuple(references.shape[1:])
        # an exported model must not contain images
        del self.model.reference_bank
        self.model.data_preprocessor = plain_preprocessor(
            self.model.data_preprocessor
        )
        self._traced_pass = _TracedPass()
        for index, layer in enumerate(self._stem):
            self._traced_pass.attach(layer, index)

    @property
    def _stem(self) -> list[nn.Module]:
        return [
            self.model.get_submodule(name)
            for name in self.model.widened_layers
        ]

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return logits, averaged over references."""
        model, stem = self.model, self._stem
        _check_image_shape(model.backbone, (images,))
        maps = [
            getattr(self, f'reference_maps_{index}')
            for index in range(len(stem))
        ]
        trunk = trunk_of(model)
        if torch.compiler.is_compiling():
            logits = self._traced_pass.each(
                images,
                maps,
                model.logits_of_rows,
                self.references_per_pass,
                repeat_images=not trunk,
            )
        else:
            logits = SharedStem(
                stem, maps, half=_own_forward, trunk=trunk
            ).each(images, model.logits_of_rows, self.references_per_pass)
        return average_references(torch.cat(logits), model.average)


class _TracedPass:
    """The forward passes of :class:`SharedStem` for ``torch.compile``.

    :class:`SharedStem` uses locks and context variables, so that several
    threads can share a model. A compiler can not trace these, but it can
    trace hooks. Only the thread that traces uses this object: a compiled
    graph does not read it.
    """

    def __init__(self):
        self._maps: list[torch.Tensor] | None = None
        self._halves: dict[int, torch.Tensor] = {}
        self._batch = 0

    def attach(self, layer: nn.Module, index: int) -> None:
        """Register hooks on a stem layer, for use in a trace only."""
        layer.register_forward_pre_hook(self._keep_images)
        layer.register_forward_hook(functools.partial(self._add_maps, index))

    def _keep_images(self, _, inputs):
        if self._maps is not None:
            return (inputs[0][: self._batch],)
        return None

    def _add_maps(self, index: int, _, __, half):
        if self._maps is None:
            return None
        half = self._halves.setdefault(index, half)
        maps = self._maps[index].to(half.dtype)
        return (half + maps[:, None]).flatten(0, 1)

    def each(
        self,
        images: torch.Tensor,
        maps: Sequence[torch.Tensor],
        function: Callable,
        references_per_pass: int,
        repeat_images: bool,
    ) -> list[torch.Tensor]:
        """See :meth:`SharedStem.each`."""
        self._batch = images.size(0)
        results = []
        for chunk in zip(*(one.split(references_per_pass) for one in maps)):
            self._maps = list(chunk)
            k = len(chunk[0])
            rows = images
            if repeat_images:
                rows = images.expand(k, *images.shape).flatten(0, 1)
            results.append(function(rows, k))
        self._maps = None
        self._halves.clear()
        return results


def check_protocol(model: AnchoredImageClassifier) -> None:
    """Raise if the protocol does not average over the same references.

    Raises:
        ValueError: The protocol is ``'adaptive'`` or ``'transduction'``, say;
            see ``can_fold`` of :class:`~mmanchor.models.Protocol`.
    """
    if not model.protocol.can_fold:
        raise ValueError(
            'Expected a protocol that averages over the same references for '
            f'every image, but got {model.protocol.name!r}, where the '
            'references or their number depend on the image. '
            "Set `protocol='mean'` with K references."
        )


def add_reference_map(layer: nn.Module, map_: torch.Tensor) -> None:
    """Let a layer of a folded stem add its map to its output.

    Args:
        layer (torch.nn.Module): It gets a buffer ``reference_map`` and a hook.
        map_ (torch.Tensor): The map.

    Shape:
        - map_: (out, H', W'), or () if it is loaded later
    """
    layer.register_buffer('reference_map', map_)
    layer.register_forward_hook(_add_reference_map)


def keep_image_shape(backbone: nn.Module, image_shape: Sequence[int]) -> None:
    """Make a folded backbone refuse images of another size (C, H, W)."""
    setattr(backbone, 'image_shape', tuple(image_shape))
    backbone.register_forward_pre_hook(_check_image_shape)


def _fold_stem(model) -> tuple[AnchoredImageClassifier, torch.Tensor, list]:
    """A copy whose stem reads C channels, the references, and their maps."""
    check_protocol(model)
    if not model.stem:
        raise ValueError(
            f'Expected a stem of convolutions to fold, but '
            f'{type(model.backbone).__name__} was built for '
            f'{2 * model.image_channels} channels, and no layer is known that '
            'adds its parts for reference and residual. Use it unfolded.'
        )
    layers = dict(model.named_modules())
    gone = [
        name
        for name, full in zip(model.stem, model.widened_layers)
        if full not in layers
    ]
    if gone:
        raise ValueError(
            f'Expected {type(model.backbone).__name__} as it was trained, but '
            f'its {", ".join(gone)} is missing. Fold it before its branches '
            'are merged (`switch_to_deploy`).'
        )
    folded = copy.deepcopy(model).eval().requires_grad_(False)
    packed = folded.reference_bank.in_use[model.protocol.features_of]
    references = normalised(folded, packed, next(folded.backbone.parameters()))
    maps = maps_of(folded, references)
    for name, map_ in zip(folded.widened_layers, maps):
        layer = folded.get_submodule(name)
        standardised = not is_linear_in_weight(layer)
        cut_before = isinstance(layer, nn.Conv2d) and map_.dim() > 4
        if standardised or cut_before:
            reason = (
                'standardises its weight, so that its halves depend on each '
                'other'
                if standardised
                else 'reads patches that were cut out before'
            )
            raise ValueError(
                f'Expected a stem that can be folded, but {name}, a '
                f'{type(layer).__name__}, {reason}. Use the model as it is.'
            )
    for name in folded.widened_layers:
        narrow(folded.get_submodule(name))
    for module in folded.modules():
        # MMCV's DropPath may hold a NumPy number, which torch.compile takes
        # for data that it can not branch on
        if isinstance(getattr(module, 'drop_prob', None), np.floating):
            setattr(module, 'drop_prob', float(module.drop_prob))
    return folded, references, maps


def _own_forward(layer, images):
    return type(layer).forward(layer, images)


def _add_reference_map(layer, _, output):
    # in place, which saves a tensor of the output's size
    return output.add_(layer.reference_map.to(output.dtype))


def _check_image_shape(backbone, inputs) -> None:
    if tuple(inputs[0].shape[1:]) != backbone.image_shape:
        raise ValueError(
            "Expected images of the folded reference's size (C, H, W) = "
            f'{backbone.image_shape}, but got {tuple(inputs[0].shape[1:])}. '
            'Resize them, or fold a reference of their size.'
        )


def plain_preprocessor(
    anchoring: AnchoringDataPreprocessor,
) -> ClsDataPreprocessor:
    """Build the host's preprocessor with an anchoring one's settings."""
    known = named_arguments(ClsDataPreprocessor)
    settings = {
        name: getattr(anchoring, name)
        for name in known
        if name in anchoring.__dict__
    }
    settings.pop('batch_augments', None)  # these are for training only
    if anchoring._enable_normalize:
        settings['mean'] = anchoring.mean.flatten().tolist()
        settings['std'] = anchoring.std.flatten().tolist()
    return ClsDataPreprocessor(**settings)
