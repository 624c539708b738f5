"""Convolutions in the order of memory that processors are fast in."""
import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmpretrain.registry import HOOKS


@HOOKS.register_module()
class ChannelsLastHook(Hook):
    """Keep weights, and with them activations, in ``torch.channels_last``.

    Faster where convolutions are small (on a CPU) or in half precision (on a
    GPU); results differ by rounding. PyTorch has the option, the host no
    place for it. For ``default_hooks`` or ``custom_hooks``; models with plain
    and with anchored training take it alike.
    """

    def before_run(self, runner: Runner) -> None:
        """Reorder the weights; what is loaded later keeps the order."""
        runner.model.to(memory_format=torch.channels_last)
