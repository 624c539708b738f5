import math

import pytest
import torch
from torch.nn import functional as F

from mmanchor.functional import average_references, fit_temperature
from mmanchor.functional.uncertainty import AVERAGE

averages = pytest.mark.parametrize('average', AVERAGE)


def nll(logits, labels, average, temperature):
    mean = average_references(logits.double() / temperature, average)
    return F.cross_entropy(mean, labels).item()


def held_out(average='logits', temperature=2., references=3, images=300):
    """Logits of which each is too sure by a temperature, and labels."""
    logits = torch.randn(images, 5) + .5 * torch.randn(references, images, 5)
    logits = 3 * logits.double()
    mean = average_references(logits / temperature, average)
    return logits, mean.softmax(-1).multinomial(1)[:, 0]


def test_by_hand():
    # three of four right: exp(2 / temperature) = 3
    logits = torch.tensor([[2., 0.]] * 4)
    assert fit_temperature(logits, torch.tensor([0, 0, 0, 1])) == (
        pytest.approx(2 / math.log(3), rel=2e-6))


@averages
@pytest.mark.parametrize('temperature', [.5, 1., 2., 4.])
def test_the_temperature_labels_were_drawn_with_is_found(average, temperature):
    logits, labels = held_out(average, temperature, images=20_000)
    assert fit_temperature(logits, labels, average) == pytest.approx(
        temperature, rel=.06)


@averages
def test_agrees_with_a_search_over_a_grid(average):
    logits, labels = held_out(average)
    found = fit_temperature(logits, labels, average)
    grid = torch.linspace(.5, 8, 1501).tolist()
    losses = [nll(logits, labels, average, each) for each in grid]
    best = grid[losses.index(min(losses))]
    assert found == pytest.approx(best, abs=.005)
    assert nll(logits, labels, average, found) <= min(losses)
    assert nll(logits, labels, average, found) < nll(logits, labels, average,
                                                     1)


@averages
def test_the_slope_of_the_likelihood_is_zero_there(average):
    logits, labels = held_out(average)
    found = torch.tensor(
        fit_temperature(logits, labels, average),
        dtype=torch.float64,
        requires_grad=True)
    F.cross_entropy(average_references(logits / found, average),
                    labels).backward()
    assert abs(found.grad.item()) < 1e-6


@averages
def test_larger_logits_have_a_larger_temperature(average):
    logits, labels = held_out(average)
    once = fit_temperature(logits, labels, average)
    for scale in (.01, .3, 100.):
        assert fit_temperature(scale * logits, labels,
                               average) == pytest.approx(
                                   scale * once, rel=1e-5)


@averages
def test_equal_references_are_one(average):
    logits, labels = held_out(references=1)
    one = fit_temperature(logits, labels, average)
    assert fit_temperature(logits[0], labels, average) == one
    assert fit_temperature(logits.repeat(4, 1, 1), labels,
                           average) == pytest.approx(
                               one, rel=2e-6)


def test_which_class_comes_first_stays():
    logits, labels = held_out()
    found = fit_temperature(logits, labels)
    assert average_references(logits / found).argmax(1).equal(
        average_references(logits).argmax(1))


def test_half_precision_is_computed_in_double():
    logits, labels = held_out()
    logits = logits.half().requires_grad_()
    assert fit_temperature(logits,
                           labels) == fit_temperature(logits.double(), labels)


@averages
def test_all_right_is_refused(average):
    logits = 5 * torch.eye(3).repeat(2, 1, 1)
    with pytest.raises(
            ValueError,
            match='between 0.001 and 1000, but got 0.001: the model is right '
            'on 3 of 3. Change to more held-out images, or leave it'):
        fit_temperature(logits, torch.arange(3), average)


def test_all_wrong_is_refused():
    with pytest.raises(ValueError, match='but got 1000: .* on 0 of 3'):
        fit_temperature(torch.eye(3), torch.tensor([1, 2, 0]))


def test_bad_input_is_refused():
    logits, labels = torch.randn(2, 4, 3), torch.arange(4) % 3
    with pytest.raises(ValueError, match="'calibrated'.*got 'mean'. Change"):
        fit_temperature(logits, labels, 'mean')
    with pytest.raises(
            ValueError, match=r'\(N,\), but got \(2, 4, 3\) and \(3,\)'):
        fit_temperature(logits, labels[:3])
    with pytest.raises(ValueError, match=r'but got \(3,\) and \(4,\). Change'):
        fit_temperature(logits[0, 0], labels)
    with pytest.raises(ValueError, match='one held-out image or more'):
        fit_temperature(logits[:, :0], labels[:0])
    with pytest.raises(ValueError, match='labels from 0 to 2, but got 3'):
        fit_temperature(logits, labels + 1)
    with pytest.raises(ValueError, match='labels from 0 to 2, but got -1'):
        fit_temperature(logits, labels - 1)
    logits[1, 2, 0], logits[0, 3, 1] = math.nan, math.inf
    with pytest.raises(ValueError, match='NaN or infinity for 2 of 4 images'):
        fit_temperature(logits, labels)
