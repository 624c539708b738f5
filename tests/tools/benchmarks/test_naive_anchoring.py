"""Naive implementations of anchoring."""

import pytest
import torch
from helpers.builders import image_bytes
from helpers.small_models import build
from naive_anchoring import (
    count_wrong_choices,
    naive_mean,
    naive_search,
    naive_training_rows,
    naive_transduction,
    rows_differ,
)

from mmanchor.functional import anchor, blank_references
from mmanchor.models.inference.protocols import build_protocol


def test_training_rows_by_hand_are_anchored_and_blanked():
    x, r = torch.randn(2, 4, 3, 8, 8)
    assert torch.equal(naive_training_rows(x, r, False), anchor(x, r))
    assert torch.equal(
        naive_training_rows(x, r, True),
        blank_references(anchor(x, r), torch.ones(4, dtype=torch.bool)),
    )


@torch.no_grad()
def test_the_naive_mean_is_the_fast_one():
    model = build('two branches')
    images = torch.randn(3, 3, 32, 32)
    references = model.data_preprocessor(
        dict(inputs=model.reference_bank.in_use)
    )['inputs']
    naive = naive_mean(model, images, references)
    torch.testing.assert_close(model(images), naive, rtol=1e-4, atol=1e-4)
    one = naive_mean(model, images, references[:1])
    assert not torch.allclose(one, naive, atol=1e-3)


def test_the_naive_search_is_the_formula():
    x, r, d = (torch.randn(n, 3, 4, 4) for n in (2, 5, 7))
    pairs = (x[:, None] - r)[:, :, None] - d
    expected = pairs.flatten(3).norm(dim=-1).amin(-1)
    torch.testing.assert_close(naive_search(x, r, d), expected)


@torch.no_grad()
def test_naive_transduction_picks_as_the_fast_one():
    model = build('patches', k=6)
    pairs = image_bytes(16, size=32, seed=1).unflatten(0, (8, 2))
    model.reference_bank.fill_residuals(pairs)
    model.protocol = build_protocol(
        dict(type='transduction', num_candidates=6, num_residuals=8)
    )
    x, r, of, to = (
        model.data_preprocessor(dict(inputs=images))['inputs']
        for images in (
            image_bytes(5, size=32, seed=2),
            model.reference_bank.in_use,
            *pairs.unbind(1),
        )
    )
    fast = model(x)
    naive = naive_transduction(model, x, r, of - to)
    torch.testing.assert_close(fast, naive, rtol=1e-4, atol=1e-4)
    assert count_wrong_choices(model, fast, x, r, of - to, 1e-3) == (0, 0)
    assert count_wrong_choices(model, naive + 1, x, r, of - to, 1e-3) == (5, 0)
    # two candidates alike: either may be picked
    worst = naive_search(x, r, of - to).argmax(1)
    other = model(anchor(x, r[worst]))
    assert count_wrong_choices(model, other, x, r, of - to, 1e-3) == (5, 0)
    assert count_wrong_choices(model, other, x, r, of - to, 1e-3, tie=9.0) == (
        0,
        5,
    )


@pytest.mark.parametrize(
    'value,differs', [(1.01, True), (1.0001, False), (float('nan'), True)]
)
def test_rows_differ_by_a_share_of_their_norm(value, differs):
    expected = torch.tensor([[300.0, 400.0]])
    assert rows_differ(expected * value, expected, 1e-3).tolist() == [differs]
