"""Small additions to PyTorch: copies to a device, uncompiled functions."""

from collections.abc import Callable
from typing import Any, TypeVar

import torch

Function = TypeVar('Function', bound=Callable)


def copy_to_device(
    tensor: torch.Tensor, device: torch.device | str
) -> torch.Tensor:
    """Copy a tensor to a device without waiting for the device.

    A plain ``tensor.to('cuda')`` reads pageable memory, so that the CPU has
    to wait until the GPU has finished all work queued before. A copy from
    pinned memory is queued like other work.

    Args:
        tensor (torch.Tensor): A tensor. If it is in pinned memory, it must
            not be changed before the device has read it. A tensor that is on
            the device already is returned as it is.

    Example:
        >>> copy_to_device(torch.arange(3), 'cpu')
        tensor([0, 1, 2])
    """
    if tensor.device.type == 'cpu' and torch.device(device).type == 'cuda':
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def not_compiled(function: Function) -> Function:
    """Mark a function that ``torch.compile`` must not compile.

    It calls :func:`torch.compiler.disable`, whose type annotation hides the
    type of the function.

    Example:
        >>> not_compiled(len)([1, 2])
        2
    """
    disable: Any = torch.compiler.disable
    return disable(function)
