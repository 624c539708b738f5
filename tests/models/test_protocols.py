"""Inference protocols on the same model and bank."""
import copy

import pytest
import torch
from builders import build_model, image_bytes, make_batch
from small_models import BACKBONES, build, one_by_one

from mmanchor.functional import anchor, average_references, settled
from mmanchor.functional.uncertainty import UNCERTAINTY
from mmanchor.models.protocols import PROTOCOLS, build_protocol

M, N = 6, 9
STRICT = 25.  # of standard errors: some images take all references


def disagreeing(name='convolution', k=M):
    """A model whose answer depends on the reference a lot."""
    model = build(name, k=k)
    for layer in model.stem:
        weight = model.backbone.get_submodule(layer).weight.data
        weight.normal_(0, 3 * weight.std())
    return model


def with_residuals(name='convolution'):
    model = disagreeing(name)
    pairs = image_bytes(2 * N, size=32, seed=3).unflatten(0, (N, 2))
    model.reference_bank.fill_residuals(pairs)
    return model


def transduction(**kwargs):
    return dict(
        type='transduction', num_candidates=M, num_residuals=N, **kwargs)


def normalised(model, images):
    return model.data_preprocessor(dict(inputs=images))['inputs']


def images_of(model, count=5):
    return normalised(model, image_bytes(count, size=32, seed=8))


@torch.no_grad()
def test_single_is_the_first_reference_whatever_the_bank_holds():
    model, images = build('convolution'), torch.randn(3, 3, 32, 32)
    expected = one_by_one(model, images)[0]
    model.protocol = 'single'
    torch.testing.assert_close(model(images), expected, rtol=1e-4, atol=1e-5)
    sample = model.predict(images)[0]
    assert sample.num_references == 1
    assert sample.pred_std.abs().max() == 0
    feats = model.extract_feat(images)[0]
    torch.testing.assert_close(
        model.head.fc(feats), expected, rtol=1e-4, atol=1e-5)


def chosen_by_definition(model, images, points):
    """A loop over images, candidates and residuals."""
    references = normalised(model, model.reference_bank.in_use)
    pairs = normalised(model,
                       model.reference_bank.residual_pairs.flatten(0, 1))
    residuals = points(pairs).unflatten(0, (N, 2))
    residuals = residuals[:, 0] - residuals[:, 1]
    best = []
    for x in points(images):
        distances = [(x - r - residuals).norm(dim=1).min()
                     for r in points(references)]
        best.append(torch.stack(distances).argmin())
    return references[torch.stack(best)]


@pytest.mark.parametrize('name', BACKBONES)
@pytest.mark.parametrize('space', ['images', 'features'])
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
        model.extract_feat(anchor(images, chosen))[0])


@torch.no_grad()
def test_transduction_costs_one_pass_a_batch():
    model = with_residuals()
    images = images_of(model)
    rows = []
    model.backbone.layer1.register_forward_pre_hook(
        lambda _, args: rows.append(len(args[0])))
    model.protocol = transduction()
    model(images)
    assert rows == [5]


CHANGES = {
    'other candidates':
    lambda model: model.reference_bank.fill(image_bytes(M, size=32, seed=21)),
    'other residuals':
    lambda model: model.reference_bank.fill_residuals(
        image_bytes(2 * N, size=32, seed=22).unflatten(0, (N, 2))),
    'candidates in place':
    lambda model: model.reference_bank.images.random_(0, 255),
    'residuals in place':
    lambda model: model.reference_bank.residual_pairs.random_(0, 255),
    'weights':
    lambda model: model.backbone.conv1.weight.data.mul_(-1.3),
    'statistics':
    lambda model: model.backbone.bn1.running_var.mul_(9),
    'normalising':
    lambda model: model.data_preprocessor.mean.add_(40),
    'type':
    lambda model: model.double(),
}


@pytest.mark.parametrize('space', ['images', 'features'])
@pytest.mark.parametrize('change', CHANGES)
@torch.no_grad()
def test_what_the_search_keeps_never_outlives_what_it_was_made_from(
        change, space):
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


@torch.no_grad()
def test_adaptive_adds_references_until_each_image_is_settled():
    model, images = disagreeing(k=8), torch.randn(40, 3, 32, 32)
    logits = one_by_one(model, images)
    logits_now = {}
    for row in range(40):
        seen = 2
        while seen < 8 and not settled(logits[:seen, row:row + 1], 8, STRICT):
            seen += 1
        logits_now[row] = (seen, logits[:seen, row].mean(0))
    assert len({seen for seen, _ in logits_now.values()}) > 2
    model.protocol = dict(type='adaptive', standard_errors=STRICT)
    samples = model.predict(images)
    assert [s.num_references
            for s in samples] == [seen for seen, _ in logits_now.values()]
    expected = torch.stack([mean for _, mean in logits_now.values()])
    torch.testing.assert_close(model(images), expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(
        torch.stack([s.pred_logits for s in samples]),
        expected,
        rtol=1e-4,
        atol=1e-5)


@pytest.mark.parametrize('k', [1, 2])
@torch.no_grad()
def test_adaptive_with_few_references_uses_all(k):
    model, images = build('convolution', k=k), torch.randn(4, 3, 32, 32)
    model.protocol = 'adaptive'
    expected = average_references(one_by_one(model, images))
    torch.testing.assert_close(model(images), expected, rtol=1e-4, atol=1e-5)
    assert {s.num_references for s in model.predict(images)} == {k}


@torch.no_grad()
def test_adaptive_asks_of_the_model_only_what_is_open():
    model, images = disagreeing(k=8), torch.randn(40, 3, 32, 32)
    model.protocol = dict(type='adaptive', standard_errors=STRICT)
    used = sum(s.num_references for s in model.predict(images))
    rows = []
    model.backbone.layer1.register_forward_pre_hook(
        lambda _, args: rows.append(len(args[0])))
    model(images)
    assert sum(rows) == used < 8 * 40


@torch.no_grad()
def test_samples_are_the_batch_s_own_in_its_order():
    model = build_model()
    model.reference_bank.fill(image_bytes(5))
    model.eval().protocol = 'adaptive'
    batch = make_batch(12)
    samples = model.test_step(batch)
    assert [s.gt_label.item() for s in samples
            ] == [s.gt_label.item() for s in batch['data_samples']]
    assert all(got is given
               for got, given in zip(samples, batch['data_samples']))


@torch.no_grad()
def test_predictions_carry_the_measures_asked_for():
    model, images = build('convolution'), torch.randn(3, 3, 32, 32)
    logits = one_by_one(model, images)
    model.uncertainty = 'all'
    samples = model.predict(images)
    for name, measure in UNCERTAINTY.items():
        torch.testing.assert_close(
            torch.stack([s.get(name) for s in samples]),
            measure(logits),
            rtol=1e-3,
            atol=1e-5)
    assert samples[0].mutual_information.shape == ()
    assert samples[0].softmax_std.shape == (7, )
    model.uncertainty = 'energy'
    assert 'max_logit' not in model.predict(images)[0]
    with pytest.raises(ValueError, match="softmax_std.*but got 'entropy'"):
        model.uncertainty = ['entropy']


@torch.no_grad()
def test_calibrated_averages_are_smaller_where_references_disagree():
    model, images = build('convolution'), torch.randn(3, 3, 32, 32)
    logits = one_by_one(model, images)
    model.average = 'calibrated'
    spread = torch.sigmoid(logits).std(0, correction=0).mean(1, keepdim=True)
    torch.testing.assert_close(
        model(images),
        logits.mean(0) / (1 + spread.exp()),
        rtol=1e-4,
        atol=1e-5)


def test_copies_keep_the_protocol_and_not_what_it_computed():
    model = with_residuals()
    model.protocol = transduction()
    with torch.no_grad():
        model(images_of(model))
    again = copy.deepcopy(model)
    assert again.protocol.name == 'transduction'
    assert again.protocol._search._kept._thing is None
    assert model.protocol._search._kept._thing is not None


def test_the_bank_s_residuals_travel_with_the_weights():
    model, other = with_residuals(), build('convolution')
    other.load_state_dict(model.state_dict())
    assert torch.equal(other.reference_bank.residual_pairs,
                       model.reference_bank.residual_pairs)
    plain = build('convolution').state_dict()
    assert 'reference_bank.residual_pairs' not in plain
    other.load_state_dict(plain)  # another bank: the residuals are not its
    assert len(other.reference_bank.residual_pairs) == 0
    with pytest.raises(ValueError, match=r'\(N, 2, C, H, W\), but got \(3,'):
        model.reference_bank.fill_residuals(torch.zeros(3, 3, 8, 8))


@torch.no_grad()
def test_a_trace_takes_all_references_whatever_the_protocol(monkeypatch):
    model, images = build('convolution', k=3), torch.randn(2, 3, 32, 32)
    expected = model(images)
    calls = []
    monkeypatch.setattr(PROTOCOLS['adaptive'], 'answer',
                        lambda *args: calls.append(args))
    model.protocol = 'adaptive'
    traced = torch.jit.trace(model, images, check_trace=False)
    torch.testing.assert_close(traced(images), expected, rtol=1e-4, atol=1e-5)
    assert not calls


def test_too_few_candidates_and_no_residuals_are_told():
    model = build('convolution', k=4)
    model.protocol = transduction()
    images = torch.randn(2, 3, 32, 32)
    with pytest.raises(ValueError, match='6 candidates in the.*has 4 in use'):
        model(images)
    model.reference_bank.fill(image_bytes(M, size=32))
    with pytest.raises(ValueError, match='checkpoint kept none. Test with'):
        model(images)
    model.reference_bank.fill_residuals(
        image_bytes(4, size=32).unflatten(0, (2, 2)))
    with pytest.raises(ValueError, match='9 residuals.*but it has 2. Lower'):
        model(images)
    model = with_residuals()
    model.protocol = transduction()
    with pytest.raises(ValueError, match=r'size \(C, H, W\) = \(3, 16, 16\)'):
        model(torch.randn(2, 3, 16, 16))


@pytest.mark.parametrize('config,error,message', [
    ('means', ValueError, "'adaptive', or a .*got 'means'. Did you mean 'm"),
    (dict(num_candidates=3), ValueError, 'as `type`, but got None'),
    (dict(type='mean', k=3), TypeError, "of the protocol 'mean' to be among "
     'none, but got k. Drop it'),
    (dict(type='transduction', candidates=3), TypeError,
     'num_candidates, num_residuals, space, but got candidates'),
    (dict(type='transduction', num_candidates=0), ValueError,
     '`num_candidates` to be a positive integer, but got 0'),
    (dict(type='transduction', num_residuals=1.5), ValueError,
     '`num_residuals` to be a positive integer, but got 1.5'),
    (dict(type='transduction', space='pixels'), ValueError,
     "'images' or 'features', but got 'pixels'"),
    (dict(type='adaptive',
          standard_errors=-1), ValueError, 'at least 0, but got -1'),
])
def test_bad_protocols(config, error, message):
    with pytest.raises(error, match=message):
        build_protocol(config)
