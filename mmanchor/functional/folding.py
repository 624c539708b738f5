"""Splits the stem into a half for the image and a constant for a reference.

``[Wr, Wd] [r, x - r] = Wd x + (Wr - Wd) r``: with a frozen reference the
second term is a constant map, and a widened layer costs what a plain one does.
"""

import copy
import functools
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextvars import ContextVar
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import nn

from ..utils.pytorch import not_compiled


def residual_half(conv: nn.Conv2d, x: torch.Tensor) -> torch.Tensor:
    """Compute a widened layer's part for the image: ``Wd x + b``.

    Args:
        conv (torch.nn.Conv2d | torch.nn.Linear): Widened to 2C channels. It
            may be a subclass with its own ``forward``.
        x (torch.Tensor): Images.

    Shape:
        - x: (B, C, H, W)
        - output: (B, out, H', W')

    Example:
        >>> residual_half(nn.Conv2d(6, 8, 3), torch.zeros(2, 3, 9, 9)).shape
        torch.Size([2, 8, 7, 7])
    """
    if not is_linear_in_weight(conv):  # but it is in its input
        zeros = torch.zeros_like(x)
        both = torch.cat([zeros, x], dim=1)
        return _with_weight(conv, conv.weight, conv.bias)(both)
    half = conv.weight[:, conv.weight.size(1) // 2 :]
    return _with_weight(conv, half, conv.bias)(x)


def reference_map(conv: nn.Conv2d, references: torch.Tensor) -> torch.Tensor:
    """Compute a widened layer's part for a reference: ``(Wr - Wd) r``.

    Args:
        conv (torch.nn.Conv2d | torch.nn.Linear): Widened to 2C channels.
        references (torch.Tensor): References as the layer reads them.

    Shape:
        - references: (K, C, H, W)
        - output: (K, out, H', W')

    Example:
        >>> conv = nn.Conv2d(6, 8, 3)
        >>> x, r = torch.randn(2, 1, 3, 9, 9)
        >>> folded = residual_half(conv, x) + reference_map(conv, r)
        >>> torch.allclose(folded, conv(torch.cat([r, x - r], 1)), atol=1e-5)
        True
    """
    if not is_linear_in_weight(conv):
        both = torch.cat([references, -references], dim=1)
        return _with_weight(conv, conv.weight, None)(both)
    of_reference, of_residual = conv.weight.chunk(2, dim=1)
    return _with_weight(conv, of_reference - of_residual, None)(references)


_LINEAR: WeakKeyDictionary[nn.Module, bool] = WeakKeyDictionary()


@not_compiled
def is_linear_in_weight(layer: nn.Module) -> bool:
    """Whether twice the weight gives twice the output, tried out once.

    It is not so where a layer standardises its weight, as ``ConvWS`` and
    timm's ``StdConv2d`` do. Then its two halves depend on each other.

    Args:
        layer (torch.nn.Module): A convolution, or a layer that is linear.

    Example:
        >>> is_linear_in_weight(nn.Conv2d(6, 8, 3))
        True
    """
    if type(layer) is nn.Conv2d or not isinstance(layer, nn.Conv2d):
        return True
    if layer not in _LINEAR:
        _LINEAR[layer] = _doubles_with_weight(layer)
    return _LINEAR[layer]


@torch.no_grad()
def _doubles_with_weight(conv: nn.Conv2d) -> bool:
    with torch.device('cpu'):  # models may be built on another device
        generator = torch.Generator().manual_seed(0)
        shape = conv.weight.shape
        weight = torch.randn(shape, generator=generator, dtype=torch.float64)
        size = [2 * d * k for d, k in zip(conv.dilation, conv.kernel_size)]
        inputs = torch.randn(
            (1, conv.in_channels, *size),
            generator=generator,
            dtype=torch.float64,
        )
        copied: Any = copy.copy(conv)
        copied.__dict__.pop('forward', None)  # see replaced_forward
        # other parameters, such as gains, may be anything but zero
        copied._parameters = {
            name: None if p is None else torch.ones(p.shape).to(inputs)
            for name, p in conv._parameters.items()
        }
        copied._buffers = {
            name: None if b is None else torch.ones(b.shape).to(inputs)
            for name, b in conv._buffers.items()
        }
        copied._parameters['bias'] = None
        outputs = []
        for factor in (1, 2):
            copied._parameters['weight'] = factor * weight
            outputs.append(copied(inputs))
        return torch.allclose(outputs[1], 2 * outputs[0])


def _with_weight(conv, weight, bias) -> nn.Conv2d:
    """Copy a layer with another weight, which still gets gradients."""
    layer = copy.copy(conv)
    layer._parameters = {**conv._parameters, 'weight': weight, 'bias': bias}
    layer.in_channels = weight.size(1)
    layer.__dict__.pop('forward', None)  # see replaced_forward
    return layer


class _StemPassed(Exception):
    """Ends a forward pass after the stem."""


def trace_reference_maps(
    backbone: nn.Module,
    stem: Iterable[str],
    references: torch.Tensor,
    run: Callable | None = None,
) -> list[torch.Tensor]:
    """Compute the reference maps of all layers of a stem, in its order.

    The references go through the backbone to the stem as images do, since a
    backbone may pad them.

    Args:
        backbone (torch.nn.Module): A backbone with a widened stem.
        stem (Iterable[str]): Names of its layers.
        references (torch.Tensor): Normalised.
        run (Callable, optional): A forward pass that runs the layers. Defaults
            to None, which means the backbone's.

    Shape:
        - references: (K, C, H, W)
        - output: a list of (K, out, H', W')

    Raises:
        ValueError: The forward pass does not run one of the layers.

    Example:
        >>> net = nn.Sequential(nn.ZeroPad2d(1), nn.Conv2d(6, 8, 3))
        >>> maps = trace_reference_maps(net, ['1'], torch.zeros(5, 3, 9, 9))
        >>> maps[0].shape
        torch.Size([5, 8, 9, 9])
    """
    layers: dict[str, Any] = dict(backbone.named_modules())
    maps: dict[str, torch.Tensor] = {}
    stem = list(stem)

    def record(name):

        def forward(x):
            maps[name] = reference_map(layers[name], x)
            if len(maps) == len(stem):
                raise _StemPassed
            return residual_half(layers[name], x)

        return forward

    try:
        with replaced_forward({layers[name]: record(name) for name in stem}):
            (run or backbone)(references)
    except _StemPassed:
        return [maps[name] for name in stem]
    missed = ', '.join(name for name in stem if name not in maps)
    raise ValueError(
        f'Expected the forward pass to run {missed} of '
        f'{type(backbone).__name__}, but it did not: its weight is used '
        'in another way, or not at all. Name other layers with `stem=[...]`.'
    )


_REPLACED: ContextVar[Mapping[nn.Module, Callable]] = ContextVar(
    'replaced_forwards', default={}
)
# number of passes that currently replace a layer's forward
_USERS: Counter = Counter()
_LOCK = threading.Lock()


class _ForwardOfThread:
    """A layer's ``forward`` while at least one thread replaces it.

    The function that runs depends on the thread that calls the layer. A
    thread that replaces nothing gets the layer's own.
    """

    def __init__(self, layer: nn.Module):
        self.layer = layer
        self.own = layer.__dict__.get('forward')

    def __call__(self, *args, **kwargs):
        replaced = _REPLACED.get().get(self.layer)
        if replaced is not None:
            return replaced(*args, **kwargs)
        if self.own is not None:
            return self.own(*args, **kwargs)
        return type(self.layer).forward(self.layer, *args, **kwargs)


def own_forward(layer: nn.Module) -> Callable:
    """Return a layer's own ``forward``, which a thread may have replaced.

    Example:
        >>> own_forward(nn.ReLU())(torch.tensor(-1.0)).item()
        0.0
    """
    forward = layer.__dict__.get('forward')
    if isinstance(forward, _ForwardOfThread):
        forward = forward.own
    return forward or functools.partial(type(layer).forward, layer)


class replaced_forward:
    """A context that replaces the forward of layers in this thread.

    Other threads that use the same layers still get the layers' own.

    Example:
        >>> layer = nn.Identity()
        >>> with replaced_forward({layer: lambda x: x + 1}):
        ...     layer(1)
        2
        >>> layer(1)
        1
    """

    def __init__(self, forwards: dict[nn.Module, Callable]):
        self.forwards = forwards

    def __enter__(self):
        with _LOCK:
            for layer in self.forwards:
                _USERS[layer] += 1
                # a copy made during a pass may have one already
                if not isinstance(
                    layer.__dict__.get('forward'), _ForwardOfThread
                ):
                    layer.forward = _ForwardOfThread(layer)
        self._token = _REPLACED.set({**_REPLACED.get(), **self.forwards})

    def __exit__(self, *_):
        _REPLACED.reset(self._token)
        with _LOCK:
            for layer in self.forwards:
                _USERS[layer] -= 1
                if not _USERS[layer]:
                    del _USERS[layer]
                    own = layer.__dict__.pop('forward').own
                    if own is not None:
                        layer.forward = own
