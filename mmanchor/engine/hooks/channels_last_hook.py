"""Stores weights and activations with channels last in memory."""

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmpretrain.registry import HOOKS


@HOOKS.register_module()
class ChannelsLastHook(Hook):
    """Train with weights and activations in ``torch.channels_last``.

    This is faster for narrow convolutions on a CPU and for half precision on
    a GPU. It works for plain and anchored models, in ``default_hooks`` or
    ``custom_hooks``.

    On a CPU, PyTorch's BatchNorm rounds differently in this memory format, so
    that activations near 0 may change their sign. Compare only runs with the
    same format.
    """

    def before_train(self, runner: Runner) -> None:
        """Convert the weights after they were initialised or loaded.

        An earlier conversion would change which weights a seed gives, because
        random numbers are drawn in the order of memory.
        """
        runner.model.to(memory_format=torch.channels_last)
