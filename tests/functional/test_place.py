"""Places inside a network: where they are, and why others are none."""

import pytest
import torch
from torch import nn

from mmanchor.functional import find_place, places_of
from mmanchor.functional.place import list_names, near_names

# its sides differ, as do those of all features
IMAGE = torch.randn(1, 3, 8, 12, generator=torch.Generator().manual_seed(0))


class Net(nn.Module):
    """Two convolutions, and between them what a test needs."""

    def __init__(self, between=lambda net, image, features: features):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3)
        self.middle = nn.Identity()
        self.last = nn.Conv2d(8, 5, 1)
        self.between = between

    def forward(self, image):
        features = self.middle(self.stem(image))
        return self.last(self.between(self, image, features))


class Named(nn.Module):
    """Gives no tensor."""

    def forward(self, features):
        return dict(h=features)


def named():
    net = Net(lambda net, image, features: features['h'])
    net.middle = Named()
    return net


NO_PLACES = {
    'it runs 2 times': Net(lambda net, image, h: net.middle(h)),
    'it gives no features as a tensor': named(),
    'something bypasses it': Net(lambda net, image, h: h + image.mean()),
    # of images, as timm's transformers do
    'fail if features have another number of rows than images': Net(
        lambda net, image, h: h.view(len(image), 8, 6, 10)
    ),
    'something else if features have another number of rows': Net(
        lambda net, image, h: h[: len(image)]
    ),
}


@pytest.mark.parametrize('reason', NO_PLACES)
def test_why_a_module_is_no_place(reason):
    net = NO_PLACES[reason]
    with pytest.raises(ValueError, match=reason):
        find_place(net, 'middle', net, IMAGE)
    assert 'middle' not in places_of(net, net, IMAGE)


def test_a_module_that_is_not_there_is_no_place():
    with pytest.raises(ValueError, match="no module 'midle'"):
        find_place(Net(), 'midle', Net(), IMAGE)


class ChannelsLast(nn.Module):
    """Swaps the axes of channels."""

    def __init__(self, dims):
        super().__init__()
        self.dims = dims

    def forward(self, features):
        return features.permute(self.dims)


@pytest.mark.parametrize('size', [(8, 12), (12, 8), (9, 9), (3, 3)])
def test_the_axis_of_channels_is_that_of_no_side(size):
    net = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1),
        ChannelsLast((0, 2, 3, 1)),
        nn.GELU(),
        ChannelsLast((0, 3, 1, 2)),
        nn.GELU(),
    )
    image = torch.randn(1, 3, *size)
    axes = [find_place(net, name, net, image) for name in ('1', '2', '3')]
    assert [(one.axis, one.channels) for one in axes] == [
        (-1, 16),
        (-1, 16),
        (1, 16),
    ]


class Stage(nn.Module):
    """As of Swin: blocks in a list, and layers inside of blocks."""

    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList(Residual() for _ in range(3))

    def forward(self, features):
        for block in self.blocks:
            features = block(features)
        return features


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.branch = nn.Sequential(nn.Conv2d(8, 8, 1), nn.ReLU())
        self.norm = nn.BatchNorm2d(8)

    def forward(self, features):
        return self.norm(features + self.branch(features))


class Extractor(nn.ModuleDict):
    """As timm's: a dict of modules that can run."""

    def forward(self, image):
        for module in self.values():
            image = module(image)
        return image


def test_stages_and_blocks_at_any_depth_are_places():
    stages = nn.ModuleDict(dict(stem=nn.Conv2d(3, 8, 1), stages=nn.Sequential(
        Stage(), Stage())))  # fmt: skip
    net = nn.Sequential(Extractor(stages))
    found = places_of(net, net, IMAGE)
    blocks = []
    for stage in ('0.stages.0', '0.stages.1'):
        blocks += [stage, *(f'{stage}.blocks.{block}' for block in range(3))]
    assert found == ['0', '0.stem', '0.stages', *blocks]


@pytest.mark.parametrize(
    'name,advice',
    [
        ('heads', "'head'"),
        ('images', "'image'"),
        ('layer3', "'timm_model.layer3'"),
        ('model.layer3', "'timm_model.layer3'"),
        ('stages.1', "'timm_model.stages.1'"),
        ('stages.2', "'timm_model.stages.1'"),
    ],
)
def test_near_names(name, advice):
    names = ['image', 'head', 'timm_model.layer3', 'timm_model.stages.1']
    assert near_names(name, names) == f' Did you mean {advice}?'


def test_numbers_alone_are_not_near():
    assert near_names('conv.33', ['stages.3.3', 'head']) == ''


def test_a_list_of_many_names_stays_short():
    names = []
    for stage in range(30):
        blocks = [f'stage{stage}x.blocks.{block}' for block in range(9)]
        names += [f'stage{stage}x', *blocks]
    found = list_names(names)
    assert found.startswith('stage0x, stage1x, ')
    assert found.endswith('stage29x, and 270 more')
    assert list_names(names[:10]) == 'stage0x, stage0x.blocks.0 to ' + names[9]
    assert list_names([f'a{i}x' for i in range(50)]).endswith(
        'a39x, and 10 more'
    )
    assert list_names([]) == ''
