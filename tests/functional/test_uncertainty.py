import torch

from mmanchor.functional import average_references, reference_spread


def test_averages_of_logits_and_of_probabilities():
    logits = 3 * torch.randn(4, 5, 6)
    torch.testing.assert_close(average_references(logits), sum(logits) / 4)
    mean_probability = sum(each.softmax(1) for each in logits) / 4
    torch.testing.assert_close(
        average_references(logits, 'probabilities').softmax(1),
        mean_probability)


def test_spread_of_one_or_of_equal_references_is_zero():
    logits = torch.randn(1, 5, 6)
    assert reference_spread(logits).abs().max() == 0
    assert reference_spread(logits.repeat(7, 1, 1)).abs().max() < 1e-6


def test_spread_is_the_population_standard_deviation():
    logits = torch.tensor([1., 3.]).view(2, 1, 1)
    assert reference_spread(logits).item() == 1
