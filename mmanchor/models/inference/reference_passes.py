"""Images through the backbone once for each reference, with a shared stem."""

import warnings
from collections.abc import Callable

import torch

from ...functional import anchor_to_all, check_same_size, fold
from ...functional.place import map_tensors
from .shared_stem import ImageWork, SharedStem, make_maps

MAX_KEPT = 64  # references whose share of the stem is kept
_TRUNK_ROWS = 32  # references that go to a place inside the model at once


def normalised(
    model, packed: torch.Tensor, images: torch.Tensor
) -> torch.Tensor:
    """Images of a bank, as the backbone is to see them.

    Shape:
        - packed: (K, C, H, W), as the test pipeline packs them
        - images: (B, C, H, W), for their device and dtype
        - output: (K, C, H, W)
    """
    return model.data_preprocessor(dict(inputs=packed))['inputs'].to(images)


def settings_of(model) -> list[torch.Tensor]:
    """What normalising depends on."""
    preprocessor = model.data_preprocessor
    return [
        getattr(preprocessor, name)
        for name in ('mean', 'std')
        if isinstance(getattr(preprocessor, name, None), torch.Tensor)
    ]


def each_pass(
    model,
    images: torch.Tensor,
    function: Callable,
    which: slice = slice(None),
    work: ImageWork | None = None,
):
    """Call a function on what goes through the backbone at once.

    A pass has as many rows as there are images, or the model's
    ``rows_per_pass`` if that is more, so that memory does not grow with K: a
    few images with all references, or all with a few. What the stem makes of
    up to ``MAX_KEPT`` references is kept; of more it is made again for every
    batch, that many at a time, so all images share them before they go.

    Args:
        model (AnchoredImageClassifier): With a filled bank.
        images (torch.Tensor): Normalised.
        function (Callable): Takes rows, reference-major, and k, the number
            of references they have. The stem must be passed within it.
        which (slice): Which of the references in use. Defaults to all.
        work (ImageWork, optional): Of these images, from calls for other
            references. Defaults to None.

    Shape:
        - images: (B, C, H, W)
        - rows: (k b, C or 2C, H, W); of a model that anchors features
          (b, C, H, W), whose features become (k b, ...)

    Yields:
        list: For some images after the others, what the function returned
        for some references after the others.
    """
    batch = max(1, len(images))  # a batch may be empty
    rows = max(batch, model.rows_per_pass)
    stem = _stem(model)
    # Nothing is shared by a backbone built for 2C channels, nor by one whose
    # branches were merged; a JIT trace knows the model's own layers only.
    if not stem or torch.jit.is_tracing():
        yield [
            function(
                anchor_to_all(images, normalised(model, chunk, images)),
                len(chunk),
            )
            for chunk in _references(model, images)[which].split(rows // batch)
        ]
        return
    packed = model.reference_bank.in_use
    together = batch
    if len(packed) <= MAX_KEPT:
        of_chunks = [
            [of_layer[which] for of_layer in _kept_maps(model, images, packed)]
        ]
        if work is None and model.place is None:
            together = rows // len(packed[which]) or batch
    else:  # read once: there is one group of images
        work = ImageWork(trunk_of(model)) if work is None else work
        of_chunks = (
            _make_maps(model, images, chunk)
            for chunk in packed[which].split(MAX_KEPT)
        )
    for group in images.split(together):
        yield [
            result
            for maps in of_chunks
            for result in SharedStem(stem, maps, trunk=trunk_of(model)).each(
                group, function, rows // max(1, len(group)), work
            )
        ]


def chosen_pass(
    model, images: torch.Tensor, index: torch.Tensor, function: Callable
):
    """Call a function on images that have one reference of the bank each.

    Args:
        model (AnchoredImageClassifier): Anchors features.
        images (torch.Tensor): Normalised.
        index (torch.Tensor): Which of the references in use is each one's.
        function (Callable): Takes rows and 1.

    Shape:
        - images: (B, C, H, W)
        - index: (B,)
    """
    packed = model.reference_bank.in_use
    if len(packed) > MAX_KEPT:
        chosen, index = index.unique(return_inverse=True)
        maps = _make_maps(model, images, packed[chosen.to(packed.device)])
    else:
        maps = _kept_maps(model, images, packed)
    shared = SharedStem(_stem(model), maps, trunk=trunk_of(model))
    return shared.own(images, index, function)


def _stem(model) -> list:
    """The widened layers; none if one of them is gone."""
    layers = [_submodule(model, name) for name in model.widened_layers]
    return [] if None in layers else layers


def _submodule(model, name):
    try:
        return model.get_submodule(name)
    except AttributeError:
        return None


def trunk_of(model) -> list:
    """What comes before the place where a model anchors features."""
    place = model.place
    if place is None:
        return []
    modules = [_submodule(model, name) for name in place.trunk]
    # what was taken out does no work
    return [module for module in modules if module is not None]


def _references(model, images):
    if torch.jit.is_tracing() and len(model.reference_bank) == 0:
        warnings.warn(
            'The reference bank is empty: tracing with a blank '
            'reference, to count operations and no more.'
        )
        return torch.zeros_like(images[:1])
    return model.reference_bank.in_use


def _kept_maps(model, images, packed):
    if torch.is_grad_enabled():
        return _make_maps(model, images, packed)
    weights = [layer.weight for layer in _stem(model)]
    for module in trunk_of(model):
        weights += [*module.parameters(), *module.buffers()]
    maps, reference = model.kept_maps.get(
        [*settings_of(model), *weights],
        lambda: (
            _make_maps(model, images, packed),
            normalised(model, packed[:1], images),
        ),
        versioned=[packed],
    )
    check_same_size(images, reference)
    return maps


def _make_maps(model, images, packed):
    references = normalised(model, packed, images)
    check_same_size(images, references)
    return maps_of(model, references)


def maps_of(model, references: torch.Tensor) -> list[torch.Tensor]:
    """What each widened layer adds for references.

    Args:
        model (AnchoredImageClassifier): The model.
        references (torch.Tensor): Normalised.

    Shape:
        - references: (K, C, H, W)
        - output: (K, ...) for each layer, as what it gives
    """
    if model.place is None:
        return make_maps(model.backbone, model.stem, references)
    blocks = [
        make_maps(model, model.widened_layers, block, model.run_host)
        for block in references.split(_TRUNK_ROWS)
    ]
    return [torch.cat(of_layer) for of_layer in zip(*blocks)]


def mean_features(model, images: torch.Tensor, stage: str, which: slice):
    """Features of images, averaged over references.

    Args:
        model (AnchoredImageClassifier): With a filled bank.
        images (torch.Tensor): Normalised.
        stage (str): As for the host's ``extract_feat``.
        which (slice): Which of the references in use.

    Shape:
        - images: (B, C, H, W)
    """
    total, of_groups = [], []

    def add(rows, k):
        def sum_up(x):
            if model.place is not None and len(x) == len(rows):
                return k * x  # it comes before references do
            return fold(x, k).sum(0)

        feats = map_tensors(sum_up, model.features_of_rows(rows, stage))
        total[:] = (
            [map_tensors(torch.add, *total, feats)] if total else [feats]
        )
        return k

    for counts in each_pass(model, images, add, which):
        of_groups.append(map_tensors(lambda x: x / sum(counts), total.pop()))
    return map_tensors(lambda *groups: torch.cat(groups), *of_groups)
