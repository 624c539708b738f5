"""Runs the stem once for each image and once for each reference."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

import torch
from torch import nn

from ...functional.folding import (
    own_forward,
    replaced_forward,
    residual_half,
    trace_reference_maps,
)
from ...functional.place import map_tensors


class ImageWork:
    """Results that depend on images alone and not on references.

    They are the widened layers' part for the image and, in a model that
    anchors features, everything before the place. The first forward pass
    computes them and the other passes use them again.

    Args:
        trunk (Sequence[torch.nn.Module]): The modules before the place, and
            last the place itself. Defaults to none.

    Attributes:
        halves (Dict[torch.nn.Module, torch.Tensor]): Each widened layer's
            part for the image.
    """

    def __init__(self, trunk: Sequence[nn.Module] = ()):
        self.trunk = list(trunk)
        self.halves: dict[nn.Module, torch.Tensor] = {}
        self._outputs: dict[nn.Module, list] = {}

    def of_rows(self, rows: torch.Tensor, batch: int) -> 'ImageWork':
        """Select the results for some images of the batch.

        Args:
            rows (torch.Tensor): Indices of the images.
            batch (int): Number of images in the batch.

        Shape:
            - rows: (b,)
        """

        def some(tensor):
            # a tensor of another length, as a position bias, has no images
            return tensor[rows] if len(tensor) == batch else tensor

        work = ImageWork(self.trunk)
        work.halves = {
            layer: half.unflatten(0, (batch, -1))[rows].flatten(0, 1)
            for layer, half in self.halves.items()
        }
        work._outputs = {
            module: [map_tensors(some, output) for output in outputs]
            for module, outputs in self._outputs.items()
        }
        return work

    def forwards(self) -> dict[nn.Module, Callable]:
        """Create forwards of the trunk's modules for one pass."""
        if not self.trunk:
            return {}
        known = bool(self._outputs)
        calls: Counter = Counter()
        passed = []

        def of(module, own):
            def forward(*args, **kwargs):
                if passed:  # the module also runs after the place
                    return own(*args, **kwargs)
                if known:
                    output = self._outputs[module][calls[module]]
                else:
                    output = own(*args, **kwargs)
                    self._outputs.setdefault(module, []).append(output)
                calls[module] += 1
                if module is self.trunk[-1]:
                    passed.append(True)
                return output

            return forward

        return {
            module: of(module, own_forward(module)) for module in self.trunk
        }


class SharedStem:
    """Adds the stem's parts for images and for frozen references.

    Args:
        layers (Sequence[torch.nn.Module]): The layers that read the image,
            or the features that are anchored.
        maps (Sequence[torch.Tensor]): Each layer's part for K references.
        half (Callable): Computes a layer's part for images, given layer and
            images. Defaults to :func:`~mmanchor.functional.residual_half`.
        trunk (Sequence[torch.nn.Module]): See :class:`ImageWork`.

    Shape:
        - maps: (K, out, H', W') each; (K, P, out, H', W') of a layer that
          reads P patches of each image as rows
    """

    def __init__(
        self,
        layers: Sequence[nn.Module],
        maps: Sequence[torch.Tensor],
        half: Callable = residual_half,
        trunk: Sequence[nn.Module] = (),
    ):
        self.layers = list(layers)
        self.maps = list(maps)
        self.half = half
        self.trunk = list(trunk)

    def each(
        self,
        images: torch.Tensor,
        function: Callable,
        references_per_pass: int,
        work: ImageWork | None = None,
    ) -> list:
        """Call a function for successive groups of references.

        Args:
            function (Callable): Called with rows and k; it runs the model
                once.
            references_per_pass (int): The largest size of a group.
            work (ImageWork, optional): Results for these images, which are
                used and extended. Defaults to None, which discards them after
                this call.

        Shape:
            - images: (B, C, H, W)
            - rows: (k B, C, H, W), reference-major. If the model anchors
              features they are (B, C, H, W), and features after the place
              have k B rows
        """
        results = []
        chunks = list(
            zip(*(maps.split(references_per_pass) for maps in self.maps))
        )
        to_keep = work is not None
        work = ImageWork(self.trunk) if work is None else work
        for index, maps in enumerate(chunks, 1):
            k = len(maps[0])
            last = index == len(chunks) and not to_keep
            replaced: dict[nn.Module, Callable] = {
                layer: self._forward(
                    layer, of_layer, images.size(0), work, last
                )
                for layer, of_layer in zip(self.layers, maps)
            }
            rows = images
            if not self.trunk:
                rows = images.expand(k, *images.shape).flatten(0, 1)
            elif to_keep or len(chunks) > 1:
                replaced.update(work.forwards())
            with replaced_forward(replaced):
                results.append(function(rows, k))
        return results

    def own(
        self, images: torch.Tensor, index: torch.Tensor, function: Callable
    ):
        """Call a function for images with one reference each.

        Args:
            index (torch.Tensor): Each image's reference among the K.
            function (Callable): Called with the images and 1; it runs the
                model once.

        Shape:
            - images: (B, C, H, W)
            - index: (B,)
        """

        def of(layer, maps):
            def forward(rows):
                half = self.half(layer, rows)
                return half + maps[index].to(half.dtype).view_as(half)

            return forward

        forwards = {
            layer: of(layer, maps)
            for layer, maps in zip(self.layers, self.maps)
        }
        with replaced_forward(forwards):
            return function(images, 1)

    def _forward(self, layer, maps, batch, work, last):

        def forward(rows):
            if layer not in work.halves:
                # each image once; a layer may read several patches of it
                images = len(rows) if self.trunk else len(rows) // len(maps)
                work.halves[layer] = self.half(layer, rows[:images])
            half = work.halves[layer]
            if last:
                del work.halves[layer]
            added = maps.to(half.dtype)
            if last and len(added) == 1:  # the half is not needed again
                if added.dim() > half.dim():
                    half.unflatten(0, (batch, -1)).add_(added)
                    return half
                return half.add_(added)
            if added.dim() > half.dim():
                half = half.unflatten(0, (batch, -1))
                return (half + added[:, None]).flatten(0, 2)
            return (half + added[:, None]).flatten(0, 1)

        return forward


def make_maps(
    backbone: nn.Module,
    stem: Iterable[str],
    references: torch.Tensor,
    run: Callable | None = None,
) -> list[torch.Tensor]:
    """Compute each stem layer's part for references, in full precision.

    Args:
        backbone (torch.nn.Module): The backbone, or a model with the layers.
        stem (Iterable[str]): Names of the layers.
        references (torch.Tensor): Normalised.
        run (Callable, optional): A forward pass. Defaults to None, which
            means the backbone's.

    Shape:
        - references: (K, C, H, W)
        - output: (K, out, H', W') for each layer, or (K, P, out, H', W') if
          it reads P patches of each image as rows
    """
    with torch.autocast(references.device.type, enabled=False):
        maps = trace_reference_maps(backbone, stem, references, run)
    count = len(references)
    return [
        one if len(one) == count else one.unflatten(0, (count, -1))
        for one in maps
    ]
