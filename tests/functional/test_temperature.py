import math

import pytest
import torch
from torch.nn import functional as F

from mmanchor.functional import fit_temperature


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


@pytest.mark.parametrize('temperature', [0.5, 1.0, 2.0, 4.0])
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


def test_all_right_is_refused():
    with pytest.raises(
        ValueError,
        match='between 0.001 and 1000, but got 0.001: the model is right '
        'on 3 of 3. Change to more held-out images, or leave it',
    ):
        fit_temperature(5 * torch.eye(3), torch.arange(3))


def test_all_wrong_is_refused():
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
