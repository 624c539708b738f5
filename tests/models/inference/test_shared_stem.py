"""Images and references share the stem, and nothing else changes."""

import copy
import pickle
import weakref

import pytest
import torch
from helpers.builders import build_model, image_bytes
from helpers.small_models import BACKBONES, build, one_by_one
from torch import nn

from mmanchor.functional import anchor, average_references
from mmanchor.models.inference import reference_passes


@pytest.mark.parametrize('rows_per_pass', [1, 6, 64])
@pytest.mark.parametrize('name', BACKBONES)
@torch.no_grad()
def test_answers_are_those_of_every_reference_alone(name, rows_per_pass):
    model = build(name, rows_per_pass=rows_per_pass)
    images = torch.randn(3, 3, 32, 32)
    expected = one_by_one(model, images)
    got = model.reference_logits(images)
    assert (got - expected).norm() < 1e-5 * expected.norm()
    got = model(images)
    expected = average_references(expected)
    assert (got - expected).norm() < 1e-5 * expected.norm()


@torch.no_grad()
def test_the_stem_sees_every_image_once_and_references_once_in_all():
    model = build('convolution', k=4, rows_per_pass=4)
    seen, later = [], []
    model.backbone.conv1.register_forward_pre_hook(
        lambda _, args: seen.append(tuple(args[0].shape[:2]))
    )
    model.backbone.layer1.register_forward_pre_hook(
        lambda _, args: later.append(len(args[0]))
    )
    for _ in range(2):
        model(torch.randn(2, 3, 32, 32))
    assert {channels for _, channels in seen} == {3}
    assert later == [4, 4, 4, 4]  # an image and all references
    # the layer is called with rows, and inside with what is new: an image at
    # a time, and all references once, in the first of two batches
    assert sorted(rows for rows, _ in seen) == [1] * 4 + [4] * 4 + [4] * 2


@torch.no_grad()
def test_maps_of_many_references_are_never_held_at_once(monkeypatch):
    model = build('convolution', k=9, rows_per_pass=4)
    made, alive = [], []

    def trace(*args):
        alive.append(sum(ref() is not None for ref in made))
        maps = make_maps(*args)
        made.append(weakref.ref(maps[0]))
        assert len(maps[0]) <= 4
        return maps

    make_maps = reference_passes.make_maps
    monkeypatch.setattr(reference_passes, 'make_maps', trace)
    monkeypatch.setattr(reference_passes, 'MAX_KEPT', 4)
    images = torch.randn(3, 3, 32, 32)
    expected = one_by_one(model, images)
    torch.testing.assert_close(
        model.reference_logits(images), expected, rtol=1e-4, atol=1e-5
    )
    assert len(made) == 3
    assert max(alive) <= 1


@pytest.mark.parametrize('stage', ['backbone', 'neck'])
@torch.no_grad()
def test_features_of_one_pass_are_gone_by_the_next(stage):
    model = build('convolution', rows_per_pass=1)
    alive, made = [], []
    model.backbone.layer1.register_forward_pre_hook(
        lambda *_: alive.append(sum(ref() is not None for ref in made))
    )
    model.backbone.register_forward_hook(
        lambda _, __, feats: made.append(weakref.ref(feats[-1]))
    )
    model.extract_feat(torch.randn(2, 3, 32, 32), stage)
    assert len(made) == 5
    assert alive == [0] * 5


@torch.no_grad()
def test_kept_maps_never_outlive_what_they_were_made_from():
    model, images = build('convolution'), torch.randn(3, 3, 32, 32)

    def swap_weights():  # as EMAHook does, behind autograd's back
        model.backbone.conv1.weight.data.mul_(-1.3)

    def fill():
        model.reference_bank.fill(image_bytes(4, size=32, seed=9))

    def in_place():
        model.reference_bank.images.random_(0, 255)

    changes = (
        swap_weights,
        fill,
        lambda: model.reference_bank.use(2),
        in_place,
        lambda: model.data_preprocessor.mean.add_(9),
        lambda: model.double(),
    )
    for change in changes:
        model(images.to(model.head.fc.weight))
        change()
        inputs = images.to(model.head.fc.weight)
        torch.testing.assert_close(
            model.reference_logits(inputs),
            one_by_one(model, inputs),
            rtol=1e-4,
            atol=1e-5,
        )


def test_copies_and_checkpoints_are_free_of_maps():
    model = build('convolution')
    with torch.no_grad():
        model(torch.randn(2, 3, 32, 32))
    assert not any('map' in key for key in model.state_dict())
    assert model.kept_maps._entry is not None
    assert copy.deepcopy(model).kept_maps._entry is None
    assert pickle.loads(pickle.dumps(model)).kept_maps._entry is None


def test_gradients_reach_both_halves_through_plain_images():
    model, images = build('convolution'), torch.randn(3, 3, 32, 32)
    model(images).square().sum().backward()
    shared = model.backbone.conv1.weight.grad.clone()
    model.zero_grad()
    references = model.data_preprocessor(
        dict(inputs=model.reference_bank.in_use)
    )['inputs']
    torch.stack(
        [model(anchor(images, r.expand_as(images))) for r in references]
    ).mean(0).square().sum().backward()
    torch.testing.assert_close(
        shared, model.backbone.conv1.weight.grad, rtol=1e-3, atol=1e-5
    )


def test_an_error_leaves_the_stem_as_it_was():
    model = build_model()
    model.reference_bank.fill(image_bytes(2))
    model.eval().backbone.layer1 = nn.Linear(3, 3)
    with pytest.raises(RuntimeError):
        model(torch.randn(2, 3, 16, 16))
    assert 'forward' not in model.backbone.conv1.__dict__
