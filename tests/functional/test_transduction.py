import pytest
import torch

from mmanchor.functional import best_candidates, pair_norms, transduction


def by_definition(points, candidates, residuals):
    """The candidate i with the smallest |(x - r_i) - D_j| over j."""
    best = []
    for x in points.double():
        distances = [
            min((x - r - d).norm() for d in residuals.double())
            for r in candidates.double()
        ]
        best.append(min(range(len(distances)), key=distances.__getitem__))
    return best


@pytest.mark.parametrize('block', [1, 40, 2**22])
def test_the_search_finds_what_the_definition_says(monkeypatch, block):
    monkeypatch.setattr(transduction, '_BLOCK', block)
    points = torch.randn(9, 12)
    candidates, residuals = torch.randn(5, 12), torch.randn(7, 12)
    found = best_candidates(
        points, candidates, residuals, pair_norms(candidates, residuals)
    )
    assert found.tolist() == by_definition(points, candidates, residuals)
    assert len(set(found.tolist())) > 1


def test_a_residual_seen_before_leads_to_its_reference():
    candidates, residuals = torch.randn(6, 30), torch.randn(8, 30)
    order = torch.tensor([3, 0, 5, 1])
    points = candidates[order] + residuals[:4]
    found = best_candidates(
        points, candidates, residuals, pair_norms(candidates, residuals)
    )
    assert torch.equal(found, order)


def test_norms_are_those_of_the_sums():
    candidates, residuals = torch.randn(3, 5), torch.randn(4, 5)
    expected = (candidates[:, None] + residuals).square().sum(-1)
    torch.testing.assert_close(pair_norms(candidates, residuals), expected)
