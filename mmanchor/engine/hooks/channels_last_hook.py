"""Convolutions in the order of memory that processors are fast in."""

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmpretrain.registry import HOOKS


@HOOKS.register_module()
class ChannelsLastHook(Hook):
    """Keep weights, and with them activations, in ``torch.channels_last``.

    Faster where convolutions are narrow (on a CPU) or in half precision (on a
    GPU). PyTorch has the option, the host no place for it. For
    ``default_hooks`` or ``custom_hooks``, of plain and anchored models alike.

    On a CPU, PyTorch's BatchNorm sums less exactly in this order, which turns
    some ReLUs near 0 on or off: compare runs with runs of the same order.
    """

    def before_train(self, runner: Runner) -> None:
        """Reorder the weights, once they are drawn or loaded.

        Earlier, a seed would draw others: drawing goes by the order.
        """
        runner.model.to(memory_format=torch.channels_last)
