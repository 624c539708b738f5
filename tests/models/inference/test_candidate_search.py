"""The protocol that chooses a reference for each image."""

import copy

import pytest
import torch
from helpers.builders import image_bytes
from helpers.small_models import BACKBONES, build, disagreeing

from mmanchor.functional import anchor

M, N = 6, 9


def with_residuals(name='convolution'):
    model = disagreeing(name, k=M)
    pairs = image_bytes(2 * N, size=32, seed=3).unflatten(0, (N, 2))
    model.reference_bank.fill_residuals(pairs)
    return model


def transduction(**kwargs):
    return dict(
        type='transduction', num_candidates=M, num_residuals=N, **kwargs
    )


def normalised(model, images):
    return model.data_preprocessor(dict(inputs=images))['inputs']


def images_of(model, count=5):
    return normalised(model, image_bytes(count, size=32, seed=8))


def chosen_by_definition(model, images, points):
    """A loop over images, candidates and residuals."""
    references = normalised(model, model.reference_bank.in_use)
    pairs = normalised(
        model, model.reference_bank.residual_pairs.flatten(0, 1)
    )
    residuals = points(pairs).unflatten(0, (N, 2))
    residuals = residuals[:, 0] - residuals[:, 1]
    best = []
    for x in points(images):
        distances = [
            (x - r - residuals).norm(dim=1).min() for r in points(references)
        ]
        best.append(torch.stack(distances).argmin())
    return references[torch.stack(best)]


@pytest.mark.parametrize(
    'name,space',
    [('convolution', 'images'), *((name, 'features') for name in BACKBONES)],
)
@torch.no_grad()
def test_transduction_takes_the_best_candidate_by_definition(name, space):
    model = with_residuals(name)
    images = images_of(model)
    first = normalised(model, model.reference_bank.in_use[:1])

    def points(x):
        if space == 'images':
            return x.flatten(1)
        feats = model.extract_feat(anchor(x, first.expand_as(x)))
        return torch.cat([f.flatten(1) for f in feats], 1)

    chosen = chosen_by_definition(model, images, points)
    assert len({reference.sum().item() for reference in chosen}) > 1
    expected = model(anchor(images, chosen))
    model.protocol = transduction(space=space)
    torch.testing.assert_close(model(images), expected, rtol=1e-4, atol=1e-5)
    predicted = torch.stack([s.pred_logits for s in model.predict(images)])
    torch.testing.assert_close(predicted, expected, rtol=1e-4, atol=1e-5)
    assert torch.equal(
        model.extract_feat(images)[0],
        model.extract_feat(anchor(images, chosen))[0],
    )


@torch.no_grad()
def test_transduction_costs_one_pass_a_batch():
    model = with_residuals()
    images = images_of(model)
    rows = []
    model.backbone.layer1.register_forward_pre_hook(
        lambda _, args: rows.append(len(args[0]))
    )
    model.protocol = transduction()
    model(images)
    assert rows == [5]


CHANGES = {
    'other candidates': lambda model: model.reference_bank.fill(
        image_bytes(M, size=32, seed=21)
    ),
    'other residuals': lambda model: model.reference_bank.fill_residuals(
        image_bytes(2 * N, size=32, seed=22).unflatten(0, (N, 2))
    ),
    'candidates in place': lambda model: model.reference_bank.images.random_(
        0, 255
    ),
    'residuals in place': lambda model: (
        model.reference_bank.residual_pairs.random_(0, 255)
    ),
    'weights': lambda model: model.backbone.conv1.weight.data.mul_(-1.3),
    'statistics': lambda model: model.backbone.bn1.running_var.mul_(9),
    'normalising': lambda model: model.data_preprocessor.mean.add_(40),
    'type': lambda model: model.double(),
}


@pytest.mark.parametrize('space', ['images', 'features'])
@pytest.mark.parametrize('change', CHANGES)
@torch.no_grad()
def test_what_the_search_keeps_never_outlives_what_it_was_made_from(
    change, space
):
    model = with_residuals()
    pixels = image_bytes(40, size=32, seed=8)
    model.protocol = transduction(space=space)
    model(normalised(model, pixels))
    CHANGES[change](model)
    images = normalised(model, pixels).to(model.head.fc.weight)
    fresh = copy.deepcopy(model)
    fresh.protocol = transduction(space=space)
    assert torch.equal(model(images), fresh(images))


@torch.inference_mode()
def test_banks_filled_in_inference_mode_are_searched():
    model = with_residuals()
    model.protocol = transduction()
    assert model(images_of(model)).isfinite().all()


def test_copies_keep_the_protocol_and_not_what_it_computed():
    model = with_residuals()
    model.protocol = transduction()
    with torch.no_grad():
        model(images_of(model))
    again = copy.deepcopy(model)
    assert again.protocol.name == 'transduction'
    assert again.protocol._search._kept._entry is None
    assert model.protocol._search._kept._entry is not None


def test_the_bank_s_residuals_travel_with_the_weights():
    model, other = with_residuals(), build('convolution')
    other.load_state_dict(model.state_dict())
    assert torch.equal(
        other.reference_bank.residual_pairs,
        model.reference_bank.residual_pairs,
    )
    plain = build('convolution').state_dict()
    assert 'reference_bank.residual_pairs' not in plain
    other.load_state_dict(plain)  # another bank: the residuals are not its
    assert len(other.reference_bank.residual_pairs) == 0
    with pytest.raises(ValueError, match=r'\(N, 2, C, H, W\), but got \(3,'):
        model.reference_bank.fill_residuals(torch.zeros(3, 3, 8, 8))


def test_too_few_candidates_and_no_residuals_are_told():
    model = build('convolution', k=4)
    model.protocol = transduction()
    images = torch.randn(2, 3, 32, 32)
    with pytest.raises(ValueError, match='6 candidates in the.*has 4 in use'):
        model(images)
    model.reference_bank.fill(image_bytes(M, size=32))
    with pytest.raises(ValueError, match='checkpoint has none. Test with'):
        model(images)
    model.reference_bank.fill_residuals(
        image_bytes(4, size=32).unflatten(0, (2, 2))
    )
    with pytest.raises(ValueError, match='9 residuals.*but it has 2. Lower'):
        model(images)
    model = with_residuals()
    model.protocol = transduction()
    with pytest.raises(ValueError, match=r'size \(C, H, W\) = \(3, 16, 16\)'):
        model(torch.randn(2, 3, 16, 16))
