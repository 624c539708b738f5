"""The stem of one image and many references, computed once for each."""

from collections.abc import Callable, Sequence

import torch
from torch import nn

from ...functional.folding import (
    replaced_forward,
    residual_half,
    trace_reference_maps,
)


class SharedStem:
    """What images and frozen references have of the stem, put together.

    Args:
        layers (Sequence[torch.nn.Conv2d]): The layers that read the image.
        maps (Sequence[torch.Tensor]): What each adds for K references.
        half (Callable): What a layer makes of images, from layer and images.
            Defaults to :func:`~mmanchor.functional.residual_half`.

    Shape:
        - maps: (K, out, H', W') each
    """

    def __init__(
        self,
        layers: Sequence[nn.Conv2d],
        maps: Sequence[torch.Tensor],
        half: Callable = residual_half,
    ):
        self.layers = list(layers)
        self.maps = list(maps)
        self.half = half

    def each(
        self,
        images: torch.Tensor,
        function: Callable,
        references_per_pass: int,
    ) -> list:
        """Call a function for some references at a time.

        Args:
            images (torch.Tensor): Normalised.
            function (Callable): Takes rows, reference-major, and k, and
                goes through the backbone once.
            references_per_pass (int): At most.

        Shape:
            - images: (B, C, H, W)
            - rows: (k B, C, H, W)

        Returns:
            list: What the function returned, each time.
        """
        halves, results = {}, []
        chunks = list(
            zip(*(maps.split(references_per_pass) for maps in self.maps))
        )
        for index, maps in enumerate(chunks, 1):
            k = len(maps[0])
            last = index == len(chunks)
            replaced: dict[nn.Module, Callable] = {
                layer: self._forward(
                    layer, of_layer, images.size(0), halves, last
                )
                for layer, of_layer in zip(self.layers, maps)
            }
            rows = images.expand(k, *images.shape).flatten(0, 1)
            with replaced_forward(replaced):
                results.append(function(rows, k))
        return results

    def _forward(self, layer, maps, batch, halves, last):

        def forward(rows):
            if layer not in halves:
                halves[layer] = self.half(layer, rows[:batch])
            half = halves.pop(layer) if last else halves[layer]
            added = maps.to(half.dtype)
            if last and len(added) == 1:  # nobody needs the half again
                return half.add_(added)
            return (half + added[:, None]).flatten(0, 1)

        return forward


def make_maps(
    backbone: nn.Module, stem: Sequence[str], references: torch.Tensor
) -> list[torch.Tensor]:
    """What each layer of a stem adds for references, in full precision.

    Shape:
        - references: (K, C, H, W), normalised
        - output: (K, out, H', W') for each layer
    """
    with torch.autocast(references.device.type, enabled=False):
        return trace_reference_maps(backbone, stem, references)
