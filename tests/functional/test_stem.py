import copy
import warnings

import pytest
import torch
from mmcv.cnn import build_conv_layer
from mmengine.runner.checkpoint import load_state_dict
from torch import nn

from mmanchor.functional import (
    anchor,
    find_stem,
    inflate,
    stem_distance,
    widen_stem,
)


class TwoBranches(nn.Module):
    """Two layers read the image; one of 3 channels does not."""

    def __init__(self, groups=1):
        super().__init__()
        self.wide = nn.Conv2d(3, 6, 3, padding=1, groups=groups)
        self.narrow = nn.Conv2d(3, 6, 1, bias=False)
        self.squeeze = nn.Conv2d(6, 3, 1)
        self.inner = nn.Conv2d(3, 4, 1)

    def forward(self, x):
        return self.inner(self.squeeze(self.wide(x) + self.narrow(x)))


@pytest.mark.parametrize('names', [None, ['wide', 'narrow']])
def test_layers_that_read_the_image_are_widened_and_others_are_not(names):
    net = TwoBranches()
    assert list(find_stem(net, names)) == ['wide', 'narrow']
    assert list(widen_stem(net, names)) == ['wide', 'narrow']
    assert net.inner.in_channels == 3
    assert net(torch.randn(2, 6, 5, 5)).shape == (2, 4, 5, 5)


@pytest.mark.parametrize(
    'load',
    [nn.Module.load_state_dict, load_state_dict],
    ids=['torch', 'mmengine'],
)
def test_plain_weights_are_inflated_exactly_whatever_loads_them(load):
    plain = TwoBranches().double()
    net = TwoBranches().double()
    widen_stem(net)
    net = copy.deepcopy(net)  # as EMA does
    weights = plain.state_dict()
    load(net, weights, strict=True)
    x, r = torch.randn(2, 4, 3, 8, 8).double()
    torch.testing.assert_close(net(anchor(x, r)), plain(x))
    assert weights['wide.weight'].shape[1] == 3  # the caller's is untouched
    assert list(net.state_dict()) == list(weights)


def test_anchored_weights_are_loaded_as_they_are():
    net, other = TwoBranches(), TwoBranches()
    widen_stem(net), widen_stem(other)
    other.load_state_dict(net.state_dict())
    assert torch.equal(other.wide.weight, net.wide.weight)


def test_keeping_weights_or_not():
    plain = TwoBranches()
    kept, fresh = copy.deepcopy(plain), copy.deepcopy(plain)
    widen_stem(kept, keep_weights=True), widen_stem(fresh)
    assert torch.equal(kept.wide.weight[:, :3], plain.wide.weight)
    assert torch.equal(kept.wide.weight[:, 3:], plain.wide.weight)
    halves = fresh.wide.weight.chunk(2, dim=1)
    assert not torch.equal(*halves)


def test_weights_for_other_channels_are_refused():
    net = nn.Sequential(nn.Conv2d(3, 4, 3))
    widen_stem(net)
    weights = {'0.weight': torch.zeros(4, 5, 3, 3), '0.bias': torch.zeros(4)}
    with pytest.raises(ValueError, match=r'0.weight.*read 3 channels.*6.*5'):
        net.load_state_dict(weights)


def test_looking_for_the_stem_leaves_no_trace():
    net = nn.Sequential(
        TwoBranches(), nn.BatchNorm2d(4), nn.Dropout(), nn.Conv2d(4, 3, 1)
    )
    net[0].wide.weight.requires_grad_(False)
    net[1].eval()
    weights = copy.deepcopy(net.state_dict())
    random_state = torch.get_rng_state()
    assert list(find_stem(net)) == ['0.wide', '0.narrow']
    assert [m.training for m in net] == [True, False, True, True]
    assert [p.requires_grad for p in net[0].wide.parameters()] == [False, True]
    assert all(torch.equal(v, weights[k]) for k, v in net.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random_state)
    assert not any(m._forward_pre_hooks for m in net.modules())


class OfOneSize(TwoBranches):
    """Takes images of one size."""

    def __init__(self, img_size):
        super().__init__()
        self.img_size = img_size

    def forward(self, x):
        return super().forward(x.reshape(-1, 3, 48, 40))


def test_looking_for_the_stem_tries_the_backbone_s_own_size():
    assert list(find_stem(OfOneSize((48, 40)))) == ['wide', 'narrow']
    with pytest.raises(
        ValueError,
        match=r'OfOneSize.*wide, narrow, inner.*\(32, 32\) it failed: '
        r'shape.*`stem=',
    ):
        find_stem(OfOneSize(64))


def test_a_stem_that_hides_from_autograd_has_to_be_named():
    net = TwoBranches()
    net.forward = torch.no_grad()(net.forward)
    with pytest.raises(ValueError, match='none of them does.*`stem='):
        find_stem(net)


def test_stems_that_cannot_be_found_or_widened():
    with pytest.raises(ValueError, match='Linear to read.*has none'):
        find_stem(nn.Linear(3, 4))
    with pytest.raises(ValueError, match=r"but got \['nose'\].*wide, narrow"):
        find_stem(TwoBranches(), ['nose'])
    with pytest.raises(ValueError, match='one group, but wide'):
        find_stem(TwoBranches(groups=3))
    with pytest.raises(ValueError, match="same number.*'squeeze': 6"):
        find_stem(TwoBranches(), ['wide', 'squeeze'])
    with pytest.raises(ValueError, match=r"list.*'conv1'. Write `stem=\['con"):
        find_stem(TwoBranches(), 'conv1')


def test_images_may_be_given_by_name():
    net = nn.Sequential(nn.Conv2d(3, 3, 1), nn.Conv2d(3, 4, 1))
    net.forward = lambda x: net[1](input=net[0](input=x))
    assert list(find_stem(net)) == ['0']


@pytest.mark.parametrize(
    'kind,warns', [('Conv2dAdaptivePadding', 0), ('ConvWS', 1), ('ConvAWS', 1)]
)
def test_layers_that_are_not_linear_in_their_weight_are_told(kind, warns):
    conv = build_conv_layer(dict(type=kind), 3, 4, 3)
    random_state = torch.get_rng_state()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        widen_stem(nn.Sequential(conv), keep_weights=True)
    messages = [
        str(w.message) for w in caught if 'linear in' in str(w.message)
    ]
    assert len(messages) == warns
    assert torch.equal(torch.get_rng_state(), random_state)


def test_weights_without_the_stem_are_told():
    net = TwoBranches()
    widen_stem(net)
    weights = {'inner.bias': torch.zeros(4)}
    with (
        pytest.warns(UserWarning, match='narrow.weight, which reads'),
        pytest.warns(UserWarning, match='wide.weight, which reads.*`prefix`'),
    ):
        net.load_state_dict(weights, strict=False)
    # where a test does not expect it, as setup.cfg says
    with pytest.raises(UserWarning, match='which reads'):
        net.load_state_dict(weights, strict=False)


def test_the_distance_of_halves_is_relative_to_the_residuals():
    torch.manual_seed(0)
    wr, wd = torch.randn(2, 64, 3, 7, 7)
    both = torch.cat([wr, wd], 1)
    assert stem_distance([both]) == pytest.approx(2**0.5, rel=0.02)
    assert stem_distance([both]) == pytest.approx(
        ((wr - wd).square().sum() / wd.square().sum()).sqrt().item()
    )
    assert stem_distance([3 * both]) == pytest.approx(stem_distance([both]))
    # it is what the reference adds, over what the image does
    assert stem_distance([inflate(wd)]) == 0
    assert stem_distance([torch.cat([0 * wd, wd], 1)]) == 1


def test_several_layers_of_a_stem_have_one_distance():
    apart = torch.cat([torch.zeros(8, 3, 3, 3), torch.ones(8, 3, 3, 3)], 1)
    alike = inflate(torch.ones(8, 3, 3, 3))
    assert stem_distance([apart, alike]) == pytest.approx(0.5**0.5)
    for weights in ([], [torch.ones(8, 3, 3, 3)]):
        with pytest.raises(ValueError, match='read 2C channels, but got'):
            stem_distance(weights)
