import random

import numpy as np
import pytest
import torch

from mmanchor.functional import check_seed, draw_generator, draw_partners


def test_draws_depend_on_all_arguments_and_on_nothing_else():
    first = draw_generator(1, 2, 3, 'masks').random(8)
    random.seed(5), np.random.seed(5), torch.manual_seed(5)
    assert np.array_equal(first, draw_generator(1, 2, 3, 'masks').random(8))
    changed = [
        (9, 2, 3, 'masks'),
        (1, 9, 3, 'masks'),
        (1, 2, 9, 'masks'),
        (1, 2, 3, 'references'),
        (1, 2, 3, 'augments'),
        (1, 2, 3, 'crops'),
    ]
    for arguments in changed:
        assert not np.array_equal(first, draw_generator(*arguments).random(8))


def test_draws_leave_global_random_state_alone():
    states = random.getstate(), np.random.get_state()[1], torch.get_rng_state()
    draw_generator(0, 0, 0, 'references').random(100)
    assert random.getstate() == states[0]
    assert np.array_equal(np.random.get_state()[1], states[1])
    assert torch.equal(torch.get_rng_state(), states[2])


@pytest.mark.parametrize('seed', [-1, 1.5, 'a', True, None])
def test_what_is_no_seed(seed):
    with pytest.raises(
        TypeError, match=f'non-negative integer, but got {seed!r}'
    ):
        check_seed(seed)


def test_partners_are_never_oneself_and_uniform_over_the_others():
    rng = np.random.default_rng(0)
    draws = torch.stack([draw_partners(5, rng) for _ in range(4000)])
    counts = torch.stack([(draws == j).sum(0) for j in range(5)])
    assert counts.diagonal().sum() == 0
    others = counts[~torch.eye(5, dtype=torch.bool)]
    # binomial(4000, 1/4): standard deviation 27
    assert (others - 1000).abs().max() < 140


def test_a_batch_of_one_has_no_partner():
    with pytest.raises(ValueError, match='at least 2 images.*got 1.*Refer'):
        draw_partners(1, np.random.default_rng(0))
