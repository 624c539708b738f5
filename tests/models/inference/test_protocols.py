"""Inference protocols on the same model and bank."""

import pytest
import torch
from helpers.builders import build_model, image_bytes, make_batch
from helpers.small_models import build, disagreeing, one_by_one

from mmanchor import PROTOCOLS, UNCERTAINTIES
from mmanchor.engine.hooks.k_reference_hook import KReferenceHook
from mmanchor.functional import settled
from mmanchor.models import build_protocol
from mmanchor.suite.measure import predict_batch

UNLIKE = 2.0  # standard errors: images take unlike numbers of references


@pytest.mark.parametrize('standard_errors,used', [(UNLIKE, 2), (6.0, 8)])
@torch.no_grad()
def test_adaptive_adds_references_until_each_image_is_settled(
    standard_errors, used
):
    model, images = disagreeing(k=8), torch.randn(40, 3, 32, 32)
    logits = one_by_one(model, images)
    used_by, expected = [], []
    for row in range(40):
        seen = 2
        while seen < 8 and not settled(
            logits[:seen, row : row + 1], 8, standard_errors
        ):
            seen += 1
        used_by.append(seen)
        expected.append(logits[:seen, row].mean(0))
    assert len(set(used_by)) > 1 and used in used_by
    model.protocol = dict(type='adaptive', standard_errors=standard_errors)
    samples = model.predict(images)
    assert [s.num_references for s in samples] == used_by
    predicted = torch.stack([s.pred_logits for s in samples])
    for found in (model(images), predicted):
        torch.testing.assert_close(
            found, torch.stack(expected), rtol=1e-4, atol=1e-5
        )


@torch.no_grad()
def test_adaptive_asks_of_the_model_only_what_is_open():
    model, images = disagreeing(k=8), torch.randn(40, 3, 32, 32)
    model.protocol = dict(type='adaptive', standard_errors=UNLIKE)
    used = sum(s.num_references for s in model.predict(images))
    rows = []
    model.backbone.layer1.register_forward_pre_hook(
        lambda _, args: rows.append(len(args[0]))
    )
    model(images)
    assert sum(rows) == used < 8 * 40


@torch.no_grad()
def test_samples_are_the_batch_s_own_in_its_order():
    model = build_model()
    model.reference_bank.fill(image_bytes(5))
    model.eval().protocol = 'adaptive'
    batch = make_batch(12)
    samples = model.test_step(batch)
    assert all(
        one is given
        for one, given in zip(samples, batch['data_samples'], strict=True)
    )


@torch.no_grad()
def test_predictions_carry_the_measures_asked_for():
    model, images = build('convolution'), torch.randn(3, 3, 32, 32)
    logits = one_by_one(model, images)
    model.uncertainty = 'all'
    samples = model.predict(images)
    for name, measure in UNCERTAINTIES.module_dict.items():
        torch.testing.assert_close(
            torch.stack([s.get(name) for s in samples]),
            measure(logits),
            rtol=1e-3,
            atol=1e-5,
        )
    assert samples[0].mutual_information.shape == ()
    assert samples[0].softmax_std.shape == (7,)
    model.uncertainty = 'energy'
    assert 'max_logit' not in model.predict(images)[0]
    with pytest.raises(ValueError, match="softmax_std.*but got 'entropy'"):
        model.uncertainty = ['entropy']


@pytest.mark.parametrize('name', ['mutual_information', 'sigmoid_std', 'all'])
@torch.no_grad()
def test_adaptive_refuses_spreads_that_can_not_be_compared(name):
    model, images = build('convolution'), torch.randn(3, 3, 32, 32)
    model.protocol, model.uncertainty = 'adaptive', ['energy', 'max_logit']
    sample = model.predict(images)[0]
    assert 'energy' in sample and 'pred_std' not in sample
    assert 'pred_std' not in predict_batch(model, image_bytes(3, size=32))
    model.uncertainty = name
    message = 'different numbers.*(_info|moid_std)'
    with pytest.raises(ValueError, match=message):
        model.predict(images)
    with pytest.raises(ValueError, match=message):
        KReferenceHook(5, protocol='adaptive', uncertainty=name)
    model.uncertainty, model.average = (), 'calibrated'
    with pytest.raises(ValueError, match="different numbers.*'calibrated'"):
        model(images)
    model.protocol = 'mean'
    assert 'pred_std' in model.predict(images)[0]


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
        atol=1e-5,
    )


@torch.no_grad()
def test_a_trace_takes_all_references_whatever_the_protocol(monkeypatch):
    model, images = build('convolution', k=3), torch.randn(2, 3, 32, 32)
    expected = model(images)
    calls = []
    monkeypatch.setattr(
        PROTOCOLS.get('adaptive'), 'answer', lambda *args: calls.append(args)
    )
    model.protocol = 'adaptive'
    traced = torch.jit.trace(model, images, check_trace=False)
    torch.testing.assert_close(traced(images), expected, rtol=1e-4, atol=1e-5)
    assert not calls


@pytest.mark.parametrize(
    'config,error,message',
    [
        (
            'means',
            ValueError,
            "'adaptive', or a .*got 'means'. Did you mean 'm",
        ),
        (dict(num_candidates=3), ValueError, 'as `type`, but got None'),
        (
            dict(type='mean', k=3),
            TypeError,
            "of the protocol 'mean' to be among none, but got k. Drop it",
        ),
        (
            dict(type='transduction', candidates=3),
            TypeError,
            'num_candidates, num_residuals, space, but got candidates',
        ),
        (
            dict(type='transduction', num_candidates=0),
            ValueError,
            '`num_candidates` to be a positive integer, but got 0',
        ),
        (
            dict(type='transduction', num_residuals=1.5),
            ValueError,
            '`num_residuals` to be a positive integer, but got 1.5',
        ),
        (
            dict(type='transduction', space='pixels'),
            ValueError,
            "'images' or 'features', but got 'pixels'",
        ),
        (
            dict(type='adaptive', standard_errors=-1),
            ValueError,
            'at least 0, but got -1',
        ),
    ],
)
def test_bad_protocols(config, error, message):
    with pytest.raises(error, match=message):
        build_protocol(config)
