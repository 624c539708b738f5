"""Anchored models with frozen references, as plain models with a map added."""

import copy
from collections.abc import Sequence
from typing import Any

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

    The result is a plain model of the host's own class: it reads C channels,
    costs what a plain model costs and answers as the anchored one does with
    its reference. Its weights are a plain model's, but that each layer of the
    stem has a buffer ``reference_map`` which is added to what it returns.
    Branches of a folded model must not be merged (``switch_to_deploy``).

    Args:
        model (AnchoredImageClassifier): With one reference in use; it stays
            as it is.

    Returns:
        ImageClassifier: In evaluation mode, without gradients.

    Raises:
        ValueError: More than one reference is in use, there is none, the
            protocol is no average over the same references, ``average`` is
            ``'calibrated'``, or the backbone has no stem that could be
            folded.

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
            'plain model can not. Set `model.average`, or use '
            '`FoldedReferences(model)`.'
        )
    folded, references, maps = _fold_stem(model)
    for name, map_ in zip(folded.widened_layers, maps):
        add_reference_map(folded.get_submodule(name), map_[0])
    keep_image_shape(folded.backbone, references.shape[1:])
    # the host's types know configs only, but it takes modules as well
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

    It reads C channels, passes them through the stem once and through the
    rest of the backbone K times.

    Args:
        model (AnchoredImageClassifier): With K references in use; it stays
            as it is.
        references_per_pass (int, optional): How many share a forward pass,
            which sets the memory; at least 1. Defaults to None: all.

    Shape:
        - images: (B, C, H, W), normalised
        - output: (B, num_classes), logits whose softmax is the prediction

    Raises:
        ValueError: There is no reference, ``references_per_pass`` is out of
            range, the protocol is no average over the same references, or
            there is no stem that could be folded; in the forward, images have
            another size than the references.
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
        # images stay behind: the bank's, and the last of training
        del self.model.reference_bank
        self.model.data_preprocessor = plain_preprocessor(
            self.model.data_preprocessor
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits, averaged over references."""
        model = self.model
        _check_image_shape(model.backbone, (images,))
        stem = [model.get_submodule(name) for name in model.widened_layers]
        maps = [
            getattr(self, f'reference_maps_{index}')
            for index in range(len(stem))
        ]
        logits = SharedStem(
            stem, maps, half=_own_forward, trunk=trunk_of(model)
        ).each(images, model.logits_of_rows, self.references_per_pass)
        return average_references(torch.cat(logits), model.average)


def check_protocol(model: AnchoredImageClassifier) -> None:
    """Raise unless the answer is an average over the same references.

    Raises:
        ValueError: It is not, as with the protocols adaptive and
            transduction; see ``can_fold`` of
            :class:`~mmanchor.models.Protocol`.
    """
    if not model.protocol.can_fold:
        raise ValueError(
            'Expected a protocol that averages over the same references for '
            f'every image, but got {model.protocol.name!r}, where the '
            'references, or what becomes of them, may depend on the image. '
            "Set `protocol='mean'` with K references."
        )


def add_reference_map(layer: nn.Module, map_: torch.Tensor) -> None:
    """Let a layer of a folded stem add its map to what it returns.

    Args:
        layer (torch.nn.Module): Gets a buffer ``reference_map`` and a hook.
        map_ (torch.Tensor): What it adds.

    Shape:
        - map_: (out, H', W'), or () for one that is loaded later
    """
    layer.register_buffer('reference_map', map_)
    layer.register_forward_hook(_add_reference_map)


def keep_image_shape(backbone: nn.Module, image_shape: Sequence[int]) -> None:
    """Let a folded backbone refuse images of another size (C, H, W)."""
    setattr(backbone, 'image_shape', tuple(image_shape))
    backbone.register_forward_pre_hook(_check_image_shape)


def _fold_stem(model) -> tuple[AnchoredImageClassifier, torch.Tensor, list]:
    """A copy whose stem reads C channels, the references, and their maps."""
    check_protocol(model)
    if not model.stem:
        raise ValueError(
            f'Expected a stem of convolutions to fold, but '
            f'{type(model.backbone).__name__} was built for '
            f'{2 * model.image_channels} channels: what it makes of a '
            'reference and of a residual are not just added. Use it as it is.'
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
            f'its {", ".join(gone)} is gone. Fold it without merging its '
            'branches (`switch_to_deploy`) before.'
        )
    folded = copy.deepcopy(model).eval().requires_grad_(False)
    packed = folded.reference_bank.in_use[model.protocol.features_of]
    references = normalised(folded, packed, next(folded.backbone.parameters()))
    maps = maps_of(folded, references)
    for name, map_ in zip(folded.widened_layers, maps):
        layer = folded.get_submodule(name)
        standardised = not is_linear_in_weight(layer)
        if standardised or map_.dim() > 2 + len(getattr(layer, 'stride', [])):
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
    return folded, references, maps


def _own_forward(layer, images):
    return type(layer).forward(layer, images)


def _add_reference_map(layer, _, output):
    # in place: a map the size of the output is read, and no more is written
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
    """The host's preprocessor with the settings of an anchoring one."""
    known = named_arguments(ClsDataPreprocessor)
    settings = {
        name: getattr(anchoring, name)
        for name in known
        if name in anchoring.__dict__
    }
    settings.pop('batch_augments', None)  # for training
    if anchoring._enable_normalize:
        settings['mean'] = anchoring.mean.flatten().tolist()
        settings['std'] = anchoring.std.flatten().tolist()
    return ClsDataPreprocessor(**settings)
