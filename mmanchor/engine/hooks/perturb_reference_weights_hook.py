"""Adds noise to the stem, so that a warm start uses its references."""

import numpy as np
import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmpretrain.registry import HOOKS

from ...functional.draws import check_seed
from ..reference_source import model_with_halves, only_plots_schedule


@HOOKS.register_module()
class PerturbReferenceWeightsHook(Hook):
    """Add noise to the weights that read the reference, before training.

    A plain checkpoint is loaded as ``[W, W]``, so that the network ignores
    its reference at first, and both halves get nearly the same gradients. With
    noise on the first half, training starts from ``[W + noise, W]``, which is
    no longer exactly the plain model. Resumed runs are not changed. Add the
    hook to ``custom_hooks`` of an anchored model.

    Args:
        scale (float): Standard deviation of the noise, relative to the root
            mean square of the layer's weights that read the reference.
            Defaults to 0.1.
        seed (int): Seed of the noise, the same on all ranks. Defaults to 0.

    Raises:
        TypeError: The model does not anchor.
        ValueError: ``scale`` is not a finite number above 0; or, when
            training starts, the backbone was built for 2C channels, so that
            its stem has no halves.

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
        """Add the noise, unless the run is resumed."""
        if only_plots_schedule(runner) or runner.iter > 0:
            return
        model = model_with_halves(runner, self)
        generator = torch.Generator().manual_seed(self.seed)
        for name in model.widened_layers:
            weight = model.get_submodule(name).weight
            reads_reference = weight.detach().chunk(2, 1)[0]
            noise = torch.randn(reads_reference.shape, generator=generator)
            size = self.scale * reads_reference.square().mean().sqrt()
            reads_reference.add_(noise.to(weight) * size)
