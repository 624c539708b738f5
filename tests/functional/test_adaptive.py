import math

import pytest
import torch

from mmanchor.functional import settled
from mmanchor.functional.adaptive import t_quantile


def one_image(*leads):
    """Logits of two classes that differ by these leads, (n, 1, 2)."""
    return torch.tensor([[[lead, 0.0]] for lead in leads])


@pytest.mark.parametrize('lead_3,expected', [(5.56, True), (5.55, False)])
def test_the_lead_is_weighed_against_its_standard_error(lead_3, expected):
    # leads 6, 6 and a, K = 10: the mean is (12 + a) / 3, s = (6 - a) / sqrt(3)
    # and t = 47.126, which Student's t with 2 degrees of freedom exceeds with
    # a sixth of 0.135 %: the mean is above t s sqrt(1/3 - 1/10) from a = 5.555
    logits = one_image(6.0, 6.0, lead_3)
    mean, spread = logits[..., 0].mean(), logits[..., 0].std()
    assert (mean > 47.1263 * spread * (1 / 3 - 1 / 10) ** 0.5) == expected
    assert settled(logits, 10).tolist() == [expected]


# two-sided 95 % and one-sided 99.9 % points of printed tables
@pytest.mark.parametrize(
    'probability,freedom,expected',
    [
        (0.025, 1, 12.706),
        (0.025, 2, 4.303),
        (0.025, 9, 2.262),
        (0.025, 30, 2.042),
        (0.001, 1, 318.31),
        (0.001, 3, 10.215),
        (0.001, 120, 3.160),
    ],
)
def test_quantiles_are_those_of_tables(probability, freedom, expected):
    assert t_quantile(probability, freedom) == pytest.approx(
        expected, rel=2e-4
    )


def test_quantiles_of_rare_events():
    # Cauchy's distribution has a tail of 1 / (pi t)
    assert t_quantile(1e-100, 1) == pytest.approx(1e100 / math.pi)
    assert t_quantile(0.0, 1) == math.inf


def test_errors_are_zero_when_all_references_were_seen():
    assert settled(one_image(9.0, -8.0), 2).item()


def test_a_tie_is_never_settled():
    assert not settled(one_image(0.0, 0.0), 10).item()


def test_every_other_class_has_to_be_left_behind():
    logits = torch.tensor([[[5.0, 4.9, -9.0]], [[5.0, 4.0, -9.0]]])
    assert not settled(logits, 10).item()  # leads of 0.1 and 1
    assert settled(logits[..., [0, 2]], 10).item()


@pytest.mark.parametrize('standard_errors', [3.0, 50.0])
def test_equal_references_are_settled_at_once(standard_errors):
    logits = torch.randn(1, 6, 4).expand(2, 6, 4)
    assert settled(logits, 100, standard_errors).all()


def test_more_standard_errors_are_more_cautious():
    logits = one_image(9.0, 8.0)
    assert settled(logits, 10, standard_errors=1.0).item()
    assert not settled(logits, 10, standard_errors=3.0).item()


def test_leads_are_those_of_what_is_averaged():
    # far apart as logits, alike as probabilities
    logits = one_image(99.0, 999.0)
    assert not settled(logits, 10).item()
    assert settled(logits, 10, average='probabilities').item()


@pytest.mark.parametrize(
    'standard_errors,num_references,tie',
    [(1.0, 40, 0.0), (1.0, 5, 0.3), (2.0, 5, 0.0), (2.0, 40, 0.3)],
)
def test_answers_differ_as_rarely_as_the_rule_says(
    standard_errors, num_references, tie
):
    """Near a tie, where the rule has most occasions to be wrong."""
    images = 20000
    generator = torch.Generator().manual_seed(0)
    leads = tie + torch.randn(
        num_references, images, generator=generator, dtype=torch.float64
    )
    logits = torch.stack([leads, torch.zeros_like(leads)], -1)
    answers = logits.mean(0).argmax(1)
    is_open = torch.ones(images, dtype=torch.bool)
    stopped = torch.zeros(images, dtype=torch.bool)
    for seen in range(2, num_references):
        done = is_open & settled(
            logits[:seen], num_references, standard_errors
        )
        answers[done] = logits[:seen, done].mean(0).argmax(1)
        stopped |= done
        is_open &= ~done
    wrong = (answers != logits.mean(0).argmax(1)).double().mean().item()
    bound = math.erfc(standard_errors / 2**0.5) / 2
    assert stopped.any()
    assert wrong <= bound + 4 * (bound / images) ** 0.5
