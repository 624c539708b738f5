"""Training steps of several processes, and what they say to each other."""

import math
from collections.abc import Callable
from contextlib import nullcontext

import torch
from mmengine.model import MMDistributedDataParallel
from torch import nn
from torch.profiler import profile

from ..diagnostics.backbone_check import build_optim_wrapper
from .settings import BenchmarkSettings
from .setup import Setup, endless_batches

VARIANTS = {
    'plain': (),
    'channels-last': ('channels-last',),
    'amp': ('amp',),
    'compile': ('compile',),
    'all': ('channels-last', 'amp', 'compile'),
}


def ddp_steps(
    setup: Setup,
    settings: BenchmarkSettings,
    variant: str,
    device: torch.device,
) -> dict[str, Callable[[], None]]:
    """Steps of the standard and of the anchored model, each within DDP.

    From a loader's batch to the weights' update, as MMEngine's runner goes.
    They have been taken before, masked and not, so that nothing is compiled
    later.

    Args:
        setup (Setup): Its models; they are changed.
        settings (BenchmarkSettings): Size and seed of batches.
        variant (str): One of ``VARIANTS``.
        device (torch.device): Of this process.
    """
    steps = {}
    for name, model, cfg in (
        ('standard', setup.plain, setup.plain_cfg),
        ('anchored', setup.anchored, setup.cfg),
    ):
        step = _step(
            model.to(device).train(), cfg, setup, settings, variant, device
        )
        preprocessor = model.data_preprocessor
        mask_prob = getattr(preprocessor, 'mask_prob', 0.0)
        for preprocessor.mask_prob in (0.0, 1.0, mask_prob):
            step()
        steps[name] = step
    return steps


def _step(model: nn.Module, cfg, setup, settings, variant, device):
    options = VARIANTS[variant]
    layout = (
        torch.channels_last
        if 'channels-last' in options
        else torch.contiguous_format
    )
    model.to(memory_format=layout)
    if 'compile' in options:  # as MMEngine does, before it is wrapped
        model.forward = torch.compile(model.forward)
    wrapped = MMDistributedDataParallel(
        model,
        device_ids=None if device.type == 'cpu' else [device.index],
        broadcast_buffers=False,
    )
    # so slow that weights, and with them the work, stay as they are
    optimizer = build_optim_wrapper(wrapped, cfg, lr_scale=1e-6)
    batches = endless_batches(
        setup.images,
        setup.anchored.head.num_classes,
        settings.batch_size,
        device.type == 'cuda',
        settings.seed,
    )

    def step():
        data = model.data_preprocessor(next(batches), training=True)
        data['inputs'] = data['inputs'].contiguous(memory_format=layout)
        with (
            torch.autocast(device.type, torch.bfloat16)
            if 'amp' in options
            else nullcontext()
        ):
            losses = wrapped(**data, mode='loss')
        loss, _ = model.parse_losses(losses)
        optimizer.update_params(loss)

    return step


def communication(step: Callable[[], None]) -> dict[str, list[int]]:
    """What a step sends and receives, as PyTorch's profiler sees it.

    Args:
        step (Callable): Without arguments, on every process.

    Returns:
        Dict[str, List[int]]: By the name of a collective, the number of
        elements of each call, in order.
    """
    with profile(record_shapes=True) as profiler:
        step()
    calls: dict[str, list[int]] = {}
    for event in profiler.events():
        backend, _, name = event.name.partition(':')
        if backend in ('gloo', 'nccl') and name:
            elements = sum(math.prod(shape) for shape in event.input_shapes)
            calls.setdefault(name, []).append(elements)
    return calls
