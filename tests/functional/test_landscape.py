"""Directions in which weights are moved."""

import pytest
import torch

from mmanchor.functional import moved_weights, random_direction

WEIGHTS = dict(
    conv=torch.arange(1.0, 25.0).view(2, 3, 2, 2),
    linear=torch.tensor([[3.0, 4.0], [0.0, 0.0], [6.0, 8.0]]),
    bias=torch.ones(3),
)


def test_filters_of_a_direction_have_the_norms_of_the_weights():
    found = random_direction(WEIGHTS, seed=3)
    for name in ('conv', 'linear'):
        torch.testing.assert_close(
            found[name].flatten(1).norm(dim=1),
            WEIGHTS[name].flatten(1).norm(dim=1),
        )
    assert not found['bias'].any()
    again = random_direction(WEIGHTS, seed=3)
    other = random_direction(WEIGHTS, seed=4)
    assert torch.equal(found['conv'], again['conv'])
    assert not torch.equal(found['conv'], other['conv'])


def test_a_raw_direction_has_the_norm_of_all_filters():
    found = random_direction(WEIGHTS, seed=3, normalise=False)
    norms = [
        torch.cat([of['conv'].flatten(), of['linear'].flatten()]).norm()
        for of in (found, WEIGHTS)
    ]
    torch.testing.assert_close(*norms)
    ratio = found['linear'].norm(dim=1) / WEIGHTS['linear'].norm(dim=1)
    assert ratio[0] != pytest.approx(ratio[2].item(), rel=1e-3)
    normalised = random_direction(WEIGHTS, seed=3)
    for a, b in zip(found['conv'], normalised['conv']):  # the same way
        assert torch.cosine_similarity(
            a.flatten(), b.flatten(), dim=0
        ).item() == pytest.approx(1)


def test_a_draw_depends_on_the_name_and_not_on_what_was_drawn_before():
    more = dict(first=torch.ones(5, 7), **WEIGHTS)
    for name, way in random_direction(WEIGHTS, seed=3).items():
        assert torch.equal(random_direction(more, seed=3)[name], way), name
    same = random_direction(dict(a=torch.ones(4, 9), b=torch.ones(4, 9)), 3)
    assert not torch.equal(same['a'], same['b'])


def test_steps_are_in_directions():
    ways = [random_direction(WEIGHTS, seed) for seed in (0, 1)]
    found = moved_weights(WEIGHTS, ways, [0.5, -2.0])
    torch.testing.assert_close(
        found['conv'],
        WEIGHTS['conv'] + ways[0]['conv'] / 2 - 2 * ways[1]['conv'],
    )
    assert torch.equal(
        moved_weights(WEIGHTS, ways, [0, 0])['conv'], WEIGHTS['conv']
    )
    with pytest.raises(ValueError, match='each of 2 directions, but got 1'):
        moved_weights(WEIGHTS, ways, [1])
    with pytest.raises(ValueError, match='of two axes or more, but got b'):
        random_direction(dict(b=torch.ones(3)), 0)
