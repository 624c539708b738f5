"""A warm start whose two halves of the stem differ a little."""

import numpy as np
import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmpretrain.registry import HOOKS

from ...functional.draws import check_seed
from ..reference_source import anchored_model, only_plots_schedule


@HOOKS.register_module()
class PerturbReferenceWeightsHook(Hook):
    """Add noise to the weights that read the reference, before training.

    A plain checkpoint is loaded as ``[W, W]``: the network ignores its
    reference at first, and both halves get nearly the same gradients. With
    noise on the first half training starts from ``[W + noise, W]``, which is
    no longer exactly the plain model. A resumed run is left as it is. For
    ``custom_hooks`` of anchored models.

    Args:
        scale (float): Standard deviation of the noise, relative to the root
            mean square of the layer's weights that read the reference.
            Defaults to 0.1.
        seed (int): Of the noise, the same on all processes. Defaults to 0.

    Raises:
        TypeError: The model does not anchor.
        ValueError: ``scale`` is not a finite number above 0; or, before
            training, the backbone was built for 2C channels: its stem has no
            halves.

    Example:
        >>> custom_hooks = [dict(type='PerturbReferenceWeightsHook')]
    """

    def __init__(self, scale: float = 0.1, seed: int = 0) -> None:
        if not (np.isfinite(scale) and scale > 0):
            raise ValueError(
                f'Expected `scale` to be a finite number above 0, but got '
                f'{scale}. Take the hook out of `custom_hooks` for a start '
                'without noise.'
            )
        check_seed(seed)
        self.scale = scale
        self.seed = seed

    def before_train(self, runner: Runner) -> None:
        """Add the noise where training starts, not where it is resumed."""
        if only_plots_schedule(runner) or runner.iter > 0:
            return
        model = anchored_model(runner)
        if model.stem_distance is None:
            raise ValueError(
                'Expected a widened stem for PerturbReferenceWeightsHook, but '
                f'got {type(model.backbone).__name__}, which was built for '
                '2C channels. Take the hook out of `custom_hooks`.'
            )
        generator = torch.Generator().manual_seed(self.seed)
        for name in model.widened_layers:
            weight = model.get_submodule(name).weight
            reads_reference = weight.detach().chunk(2, 1)[0]
            noise = torch.randn(reads_reference.shape, generator=generator)
            size = self.scale * reads_reference.square().mean().sqrt()
            reads_reference.add_(noise.to(weight) * size)
