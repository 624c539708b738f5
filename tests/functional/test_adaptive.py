import pytest
import torch

from mmanchor.functional import settled


def one_image(*leads):
    """Logits of two classes that differ by these leads, (n, 1, 2)."""
    return torch.tensor([[[lead, 0.]] for lead in leads])


@pytest.mark.parametrize('lead_2,expected', [(2.76, True), (2.72, False)])
def test_the_lead_is_weighed_against_its_standard_error(lead_2, expected):
    # leads 6 and a: mean (6 + a) / 2, s = (6 - a) / sqrt(2), K = 10:
    # 3 errors are 3 s sqrt(1/2 - 1/10), less than the mean from a = 2.742 on
    assert settled(one_image(6., lead_2), 10).tolist() == [expected]


def test_errors_are_zero_when_all_references_were_seen():
    assert settled(one_image(9., -8.), 2).item()


def test_a_tie_is_never_settled():
    assert not settled(one_image(0., 0.), 10).item()


def test_every_other_class_has_to_be_left_behind():
    logits = torch.tensor([[[5., 4.9, -9.]], [[5., 4., -9.]]])
    assert not settled(logits, 10).item()  # leads of 0.1 and 1
    assert settled(logits[..., [0, 2]], 10).item()


def test_equal_references_are_settled_at_once():
    logits = torch.randn(1, 6, 4).expand(2, 6, 4)
    assert settled(logits, 100, standard_errors=50.).all()


def test_no_demand_settles_what_is_ahead():
    assert settled(one_image(9., -8.), 10, standard_errors=0.).item()
    assert not settled(one_image(9., -8.), 10).item()


def test_leads_are_those_of_what_is_averaged():
    # far apart as logits, alike as probabilities
    logits = one_image(9., 99.)
    assert not settled(logits, 10).item()
    assert settled(logits, 10, average='probabilities').item()
