"""Runs images through the backbone for each reference, sharing the stem."""

import warnings
from collections.abc import Callable

import torch

from ...functional import anchor_to_all, check_same_size, fold
from ...functional.place import map_tensors
from .shared_stem import ImageWork, SharedStem, make_maps

MAX_KEPT = 64  # references whose part of the stem is cached, at most
_TRUNK_ROWS = 32  # references per forward pass to a place inside the model


def normalised(
    model, packed: torch.Tensor, images: torch.Tensor
) -> torch.Tensor:
    """Normalise images of a bank.

    Shape:
        - packed: (K, C, H, W), as the test pipeline packs them
        - images: (B, C, H, W), whose device and dtype the output gets
        - output: (K, C, H, W)
    """
    return model.data_preprocessor(dict(inputs=packed))['inputs'].to(images)


def settings_of(model) -> list[torch.Tensor]:
    """The tensors on which normalising depends."""
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
    """Call a function for each forward pass of a batch.

    A pass has as many rows as the batch has images, or ``rows_per_pass`` of
    the model if that is more, so that memory does not grow with K. A row is a
    pair of an image and a reference. The stem's output for up to ``MAX_KEPT``
    references is cached. For more references it is computed in every batch,
    ``MAX_KEPT`` at a time, and shared by all images of the batch.

    Args:
        function (Callable): Called with the rows, reference-major, and with
            k, their number of references. It has to run the stem.
        which (slice): Selects from the references in use. Defaults to all.
        work (ImageWork, optional): Results for these images from calls with
            other references. Defaults to None.

    Shape:
        - images: (B, C, H, W)
        - rows: (k b, C or 2C, H, W). If the model anchors features they are
          (b, C, H, W), and features after the place have k b rows

    Yields:
        list: The results of the function for one group of images, which are
        those for successive groups of references.
    """
    batch = max(1, len(images))  # a batch may be empty
    rows = max(batch, model.rows_per_pass)
    stem = _stem(model)
    # A backbone that was built for 2C channels, or whose branches were merged,
    # has no stem to share, and a JIT trace can't follow replaced layers.
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
    else:  # a generator suffices, since there is one group of images
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
    """Call a function on images with one reference of the bank each.

    Args:
        model (AnchoredImageClassifier): It anchors features.
        index (torch.Tensor): Each image's reference among those in use.
        function (Callable): Called with the rows and with 1.

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
    """The widened layers, or none if one was removed from the model."""
    layers = [_submodule(model, name) for name in model.widened_layers]
    return [] if None in layers else layers


def _submodule(model, name):
    try:
        return model.get_submodule(name)
    except AttributeError:
        return None


def trunk_of(model) -> list:
    """The modules before the place where a model anchors features."""
    place = model.place
    if place is None:
        return []
    modules = [_submodule(model, name) for name in place.trunk]
    # removed modules do not run
    return [module for module in modules if module is not None]


def _references(model, images):
    if torch.jit.is_tracing() and len(model.reference_bank) == 0:
        warnings.warn(
            'The reference bank is empty. The trace uses a blank reference, '
            'which only serves to count operations.'
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
    """Compute what each widened layer adds for references.

    Shape:
        - references: (K, C, H, W)
        - output: (K, ...) for each layer, otherwise of its output's shape
    """
    if model.place is None:
        return make_maps(model.backbone, model.stem, references)
    blocks = [
        make_maps(model, model.widened_layers, block, model.run_host)
        for block in references.split(_TRUNK_ROWS)
    ]
    return [torch.cat(of_layer) for of_layer in zip(*blocks)]


def mean_features(model, images: torch.Tensor, stage: str, which: slice):
    """Compute features of images, averaged over references.

    Args:
        stage (str): See the host's ``extract_feat``.
        which (slice): Selects from the references in use.

    Shape:
        - images: (B, C, H, W)
    """
    total, of_groups = [], []

    def add(rows, k):
        # where features are anchored; but a JIT trace anchors images
        images_once = (
            model.place is not None and rows.size(1) == model.image_channels
        )

        def sum_up(x):
            if images_once and len(x) == len(rows):
                return k * x  # features before the place have no references
            return fold(x, k).sum(0)

        feats = map_tensors(sum_up, model.features_of_rows(rows, stage))
        total[:] = (
            [map_tensors(torch.add, *total, feats)] if total else [feats]
        )
        return k

    for counts in each_pass(model, images, add, which):
        of_groups.append(map_tensors(lambda x: x / sum(counts), total.pop()))
    return map_tensors(lambda *groups: torch.cat(groups), *of_groups)
