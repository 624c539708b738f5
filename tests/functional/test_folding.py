import pytest
import torch
from mmcv.cnn import build_conv_layer
from torch import nn

from mmanchor.functional import (
    anchor,
    anchor_to_all,
    is_linear_in_weight,
    reference_map,
    residual_half,
    trace_reference_maps,
    widen_stem,
)


@pytest.mark.parametrize(
    'kwargs',
    [
        dict(kernel_size=3),
        dict(kernel_size=7, stride=2, padding=3, bias=False),
        dict(kernel_size=4, stride=4),
        dict(kernel_size=3, stride=3, padding=1, dilation=2),
        dict(kernel_size=3, padding='same', padding_mode='reflect'),
        dict(kernel_size=3, padding=1, padding_mode='circular'),
    ],
    ids=str,
)
@pytest.mark.parametrize(
    'kind', ['Conv2d', 'Conv2dAdaptivePadding', 'ConvWS', 'ConvAWS']
)
def test_a_layer_is_the_sum_of_its_parts(kind, kwargs):
    if kind != 'Conv2d':  # pads by itself, or zeros only
        kwargs = {k: v for k, v in kwargs.items() if 'padding' not in k}
    conv = build_conv_layer(dict(type=kind), 6, 5, **kwargs).double()
    images, references = torch.randn(2, 4, 3, 17, 14).double()
    parts = residual_half(conv, images) + reference_map(conv, references)
    torch.testing.assert_close(parts, conv(anchor(images, references)))
    assert conv.in_channels == 6 and 'forward' not in conv.__dict__
    for _ in range(2):  # once more, as it is known then
        # others standardise their weight
        assert is_linear_in_weight(conv) == kind.startswith('Conv2d')


def test_gradients_are_those_of_the_whole_layer():
    conv = nn.Conv2d(4, 3, 3).double()
    images, references = torch.randn(2, 5, 2, 6, 6).double()
    conv(anchor(images, references)).square().sum().backward()
    expected = [p.grad.clone() for p in conv.parameters()]
    conv.zero_grad()
    parts = residual_half(conv, images) + reference_map(conv, references)
    parts.square().sum().backward()
    for parameter, gradient in zip(conv.parameters(), expected):
        torch.testing.assert_close(parameter.grad, gradient)


class TwoBranches(nn.Module):
    """Pads images; two layers read them, others follow."""

    def __init__(self):
        super().__init__()
        self.pad = nn.ZeroPad2d((0, 1, 2, 0))
        self.wide = nn.Conv2d(3, 6, 3, padding=1)
        self.narrow = nn.Conv2d(3, 6, 1, bias=False)
        self.later = nn.BatchNorm2d(6)

    def forward(self, x):
        x = self.pad(x)
        return self.later(self.wide(x) + self.narrow(x))


def test_maps_are_traced_through_what_comes_before_the_stem():
    net = TwoBranches()
    stem = list(widen_stem(net))
    images, references = torch.randn(4, 3, 7, 6), torch.randn(2, 3, 7, 6)
    counted = net.later.num_batches_tracked.clone()
    maps = trace_reference_maps(net, stem, references)
    assert torch.equal(net.later.num_batches_tracked, counted)  # not reached
    assert [m.shape for m in maps] == [(2, 6, 9, 7)] * 2
    whole = anchor_to_all(images, references)
    for name, map_ in zip(stem, maps):
        layer = net.get_submodule(name)
        expected = layer(net.pad(whole)).unflatten(0, (2, 4))
        parts = residual_half(layer, net.pad(images)) + map_[:, None]
        torch.testing.assert_close(parts, expected)
        assert 'forward' not in layer.__dict__


def test_a_layer_that_is_not_passed_is_named():
    net = TwoBranches()
    net.unused = nn.Conv2d(3, 6, 3)
    stem = list(widen_stem(net, ['wide', 'narrow', 'unused']))
    with pytest.raises(ValueError, match='run unused of TwoBranches'):
        trace_reference_maps(net, stem, torch.randn(2, 3, 7, 6))
    assert 'forward' not in net.wide.__dict__
