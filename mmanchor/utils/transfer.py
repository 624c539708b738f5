"""Copies from the host to a device that wait for nothing."""

import torch


def copy_to_device(
    tensor: torch.Tensor, device: torch.device | str
) -> torch.Tensor:
    """Copy a tensor to a device without waiting for what the device does.

    A plain ``tensor.to('cuda')`` reads pageable memory, so that the host has
    to wait until the GPU has done all work queued before. From pinned memory
    the copy is queued like any other work.

    Args:
        tensor (torch.Tensor): On the host; it must not be changed until the
            device has read it, unless it is in pageable memory. One that is
            on the device already is returned as it is.
        device (torch.device | str): Where it goes.

    Returns:
        torch.Tensor: The tensor on that device.

    Example:
        >>> copy_to_device(torch.arange(3), 'cpu')
        tensor([0, 1, 2])
    """
    if tensor.device.type == 'cpu' and torch.device(device).type == 'cuda':
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)
