"""Images through the backbone once for each reference, with a shared stem."""
import warnings
from typing import Callable

import torch
from mmpretrain.models import ImageClassifier

from ..functional import anchor_to_all, check_same_size, fold
from .shared_stem import SharedStem, make_maps


def normalised_references(model, images: torch.Tensor) -> torch.Tensor:
    """The references in use, as the backbone is to see them.

    Shape:
        - images: (B, C, H, W), for their device and dtype
        - output: (K, C, H, W)
    """
    if torch.jit.is_tracing() and len(model.reference_bank) == 0:
        warnings.warn('The reference bank is empty: tracing with a blank '
                      'reference, to count operations and no more.')
        return torch.zeros_like(images[:1])
    return model.data_preprocessor(
        dict(inputs=model.reference_bank.in_use))['inputs'].to(images)


def each_pass(model,
              images: torch.Tensor,
              function: Callable,
              which: slice = slice(None)) -> list:
    """Call a function on what goes through the backbone at once.

    References share a pass up to the model's ``rows_per_pass`` rows; a batch
    with more takes one pass a reference. What the stem makes of up to
    ``rows_per_pass`` references is kept, of more it is made again, that many
    at a time: so memory does not grow with K.

    Args:
        model (AnchoredImageClassifier): With a filled bank.
        images (torch.Tensor): Normalised.
        function (Callable): Takes rows, reference-major, and k, the number
            of references they have. The stem must be passed within it.
        which (slice): Which of the references in use. Defaults to all.

    Shape:
        - images: (B, C, H, W)
        - rows: (k B, C or 2C, H, W)

    Returns:
        list: What the function returned, each time.
    """
    references = normalised_references(model, images)
    check_same_size(images, references)
    limit = model.rows_per_pass
    per_pass = max(1, limit // len(images))
    layers = dict(model.backbone.named_modules())
    stem = [layers[name] for name in model.stem if name in layers]
    # Nothing is shared by a backbone built for 2C channels, nor by one whose
    # branches were merged; a JIT trace knows the model's own layers only.
    if not stem or len(stem) < len(model.stem) or torch.jit.is_tracing():
        return [
            function(anchor_to_all(images, chunk), len(chunk))
            for chunk in references[which].split(per_pass)
        ]
    if len(references) <= limit:
        kept = model.kept_maps.get(model.backbone, model.stem, references)
        of_chunks = [[of_layer[which] for of_layer in kept]]
    else:
        of_chunks = (
            make_maps(model.backbone, model.stem, chunk)
            for chunk in references[which].split(limit))
    return [
        result for maps in of_chunks
        for result in SharedStem(stem, maps).each(images, function, per_pass)
    ]


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
    total = []

    def add(rows, k):
        feats = _map_tensors(lambda x: fold(x, k).sum(0),
                             ImageClassifier.extract_feat(model, rows, stage))
        total[:] = [_map_tensors(torch.add, *total, feats)
                    ] if total else [feats]
        return k

    count = sum(each_pass(model, images, add, which))
    return _map_tensors(lambda x: x / count, *total)


def _map_tensors(function, *trees):
    """Apply a function to the tensors of nested tuples and lists."""
    if isinstance(trees[0], (tuple, list)):
        return type(trees[0])(
            _map_tensors(function, *branches) for branches in zip(*trees))
    return function(*trees)
