import math
from itertools import permutations

import pytest
import torch
from torch.nn import functional as F

from mmanchor.functional import fit_temperature, fit_vector_scaling


def nll(logits, labels, temperature):
    return F.cross_entropy(logits.double() / temperature, labels).item()


def held_out(temperature=2.0, images=300):
    """Logits that are too sure by a temperature, and labels."""
    logits = 3 * torch.randn(images, 5, dtype=torch.float64)
    return logits, (logits / temperature).softmax(-1).multinomial(1)[:, 0]


def test_by_hand():
    # three of four right: exp(2 / temperature) = 3
    logits = torch.tensor([[2.0, 0.0]] * 4)
    assert fit_temperature(logits, torch.tensor([0, 0, 0, 1])) == (
        pytest.approx(2 / math.log(3), rel=2e-6)
    )


@pytest.mark.parametrize('temperature', [0.5, 4.0])
def test_the_temperature_labels_were_drawn_with_is_found(temperature):
    logits, labels = held_out(temperature, images=20_000)
    assert fit_temperature(logits, labels) == pytest.approx(
        temperature, rel=0.06
    )


def test_agrees_with_a_search_over_a_grid():
    logits, labels = held_out()
    found = fit_temperature(logits, labels)
    grid = torch.linspace(0.5, 8, 1501).tolist()
    losses = [nll(logits, labels, each) for each in grid]
    assert found == pytest.approx(grid[losses.index(min(losses))], abs=0.005)
    assert nll(logits, labels, found) <= min(losses)
    assert nll(logits, labels, found) < nll(logits, labels, 1)


def test_the_slope_of_the_likelihood_is_zero_there():
    logits, labels = held_out()
    found = torch.tensor(
        fit_temperature(logits, labels),
        dtype=torch.float64,
        requires_grad=True,
    )
    F.cross_entropy(logits / found, labels).backward()
    assert abs(found.grad.item()) < 1e-6


@pytest.mark.parametrize('scale', [0.01, 0.3, 100.0])
def test_larger_logits_have_a_larger_temperature(scale):
    logits, labels = held_out()
    assert fit_temperature(scale * logits, labels) == pytest.approx(
        scale * fit_temperature(logits, labels), rel=1e-5
    )


def test_half_precision_is_computed_in_double():
    logits, labels = held_out()
    logits = logits.half().requires_grad_()
    assert fit_temperature(logits, labels) == fit_temperature(
        logits.double(), labels
    )


def test_all_right_and_all_wrong_are_refused():
    with pytest.raises(
        ValueError,
        match='between 0.001 and 1000, but got 0.001: the model is right '
        'on 3 of 3. Change to more held-out images, or leave it',
    ):
        fit_temperature(5 * torch.eye(3), torch.arange(3))
    with pytest.raises(ValueError, match='but got 1000: .* on 0 of 3'):
        fit_temperature(torch.eye(3), torch.tensor([1, 2, 0]))


def test_bad_input_is_refused():
    logits, labels = torch.randn(4, 3), torch.arange(4) % 3
    with pytest.raises(
        ValueError, match=r'\(N,\), but got \(4, 3\) and \(3,\)'
    ):
        fit_temperature(logits, labels[:3])
    with pytest.raises(ValueError, match=r'but got \(3,\) and \(4,\). Change'):
        fit_temperature(logits[0], labels)
    with pytest.raises(ValueError, match='one held-out image or more'):
        fit_temperature(logits[:0], labels[:0])
    with pytest.raises(ValueError, match='labels from 0 to 2, but got 3'):
        fit_temperature(logits, labels + 1)
    with pytest.raises(ValueError, match='labels from 0 to 2, but got -1'):
        fit_temperature(logits, labels - 1)
    logits[2, 0], logits[3, 1] = math.nan, math.inf
    with pytest.raises(ValueError, match='NaN or infinity for 2 of 4 images'):
        fit_temperature(logits, labels)


def distorted(images, seed=0):
    """Logits whose classes are off in ways of their own, and labels."""
    generator = torch.Generator().manual_seed(seed)
    true = 2 * torch.randn(images, 4, dtype=torch.float64, generator=generator)
    labels = true.softmax(-1).multinomial(1, generator=generator)[:, 0]
    weight = torch.tensor([0.5, 1.0, 2.0, 3.0], dtype=torch.float64)
    bias = torch.tensor([0.5, 0.5, -1.0, 0.0], dtype=torch.float64)
    return (true - bias) / weight, labels, weight, bias


def test_vector_scaling_finds_the_distortion_of_each_class():
    logits, labels, weight, bias = distorted(50_000)
    found = fit_vector_scaling(logits, labels)
    assert found.weight.tolist() == pytest.approx(weight.tolist(), rel=0.05)
    assert found.bias.tolist() == pytest.approx(bias.tolist(), abs=0.05)


def test_vector_scaling_is_likelier_on_other_images_than_a_temperature():
    logits, labels, *_ = distorted(1000)
    found = fit_vector_scaling(logits, labels)
    temperature = fit_temperature(logits, labels)
    others, their_labels, *_ = distorted(5000, seed=1)
    gain = nll(others, their_labels, temperature) - nll(
        found.apply(others), their_labels, 1
    )
    assert gain > 0.05


@pytest.mark.parametrize('prior_std', [1.0, math.inf])
def test_where_classes_are_alike_vector_scaling_is_the_temperature(prior_std):
    logits = torch.tensor([[3.0, 1.0, 0.0], [2.0, 1.5, 0.0], [1.0, 0.2, 0.0]])
    orders = list(permutations(range(3)))  # classes are all alike
    logits = torch.cat([logits[:, order] for order in orders])
    labels = torch.cat(
        [torch.tensor([o.index(0), o.index(0), o.index(1)]) for o in orders]
    )
    temperature = fit_temperature(logits, labels)
    found = fit_vector_scaling(logits, labels, prior_std)
    assert found.weight.tolist() == pytest.approx([1 / temperature] * 3)
    assert found.bias.tolist() == pytest.approx([0] * 3, abs=1e-6)


def test_the_slope_of_the_likelihood_without_a_prior_is_zero():
    logits, labels, *_ = distorted(500)
    found = fit_vector_scaling(logits, labels, math.inf)
    values = torch.stack([found.weight, found.bias]).requires_grad_()
    F.cross_entropy(logits * values[0] + values[1], labels).backward()
    assert values.grad.abs().max() < 1e-6


def test_a_class_without_images_has_a_finite_bias():
    logits, labels, *_ = distorted(300)
    kept = labels != 3
    found = fit_vector_scaling(logits[kept], labels[kept])
    assert found.bias.isfinite().all() and found.bias.argmin() == 3
    assert found.bias.sum().item() == pytest.approx(0, abs=1e-9)


def test_few_images_keep_vector_scaling_close_to_the_temperature():
    logits, labels, *_ = distorted(12)
    temperature = fit_temperature(logits, labels)
    found = fit_vector_scaling(logits, labels, 0.01)
    assert found.weight.tolist() == pytest.approx(
        [1 / temperature] * 4, rel=0.01
    )


def test_bad_input_of_vector_scaling_is_refused():
    logits, labels, *_ = distorted(12)
    with pytest.raises(ValueError, match='`prior_std` to be above 0'):
        fit_vector_scaling(logits, labels, 0)
    with pytest.raises(ValueError, match='the model is right on 3 of 3'):
        fit_vector_scaling(5 * torch.eye(3), torch.arange(3))


def test_without_scipy_the_extra_is_named(without_package):
    without_package('scipy')
    with pytest.raises(ImportError, match=r'mmanchor\[eval\]'):
        fit_temperature(*held_out(images=10))
