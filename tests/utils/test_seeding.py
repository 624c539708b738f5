"""Draws that depend on what is done, whoever does it."""

import copy
import pickle
import random

import numpy as np
import torch
from torch.utils.data import BatchSampler, SequentialSampler

from mmanchor.utils.seeding import (
    SeededBatches,
    SeededIndices,
    seed_generators,
)


def draws():
    return random.random(), np.random.rand(), torch.rand(()).item()


def read(indices):
    return [(index, draws()) for index in indices]


def batches(begin=(0, 0)):
    seeded = SeededBatches(BatchSampler(SequentialSampler(range(7)), 3, False))
    seeded.begin((5,), *begin)
    return seeded


def test_all_three_generators_are_seeded_by_any_part():
    found = []
    for entropy in ((0, 1), (1, 0), (0, 1, 0), (0,)):
        seed_generators(*entropy)
        found.append(draws())
    assert len({number for drawn in found for number in drawn}) == 12


def test_a_batch_draws_the_same_wherever_it_is_read():
    indices = SeededIndices([4, 2], (3, 1))
    first = read(indices)
    assert [index for index, _ in first] == [4, 2]
    assert first[0][1] != first[1][1]
    random.random(), np.random.rand(), torch.rand(3)
    assert read(copy.deepcopy(indices)) == first
    assert read(pickle.loads(pickle.dumps(indices))) == first


def test_pickling_does_not_seed():
    seed_generators(9)
    expected = draws()
    seed_generators(9)
    pickle.dumps(SeededIndices([4, 2], (3, 1)))
    assert draws() == expected


def test_batches_are_those_of_the_sampler_each_with_its_seed():
    seeded = batches()
    found = [read(batch) for batch in seeded]
    assert [[i for i, _ in batch] for batch in found] == [
        [0, 1, 2],
        [3, 4, 5],
        [6],
    ]
    assert len({d for batch in found for _, d in batch}) == 7
    assert len(seeded) == 3 and seeded.batch_size == 3
    assert len(copy.copy(seeded)) == 3
    # the next time they go on, with other draws
    assert read(next(iter(seeded))) != found[0]


def test_batches_that_were_trained_on_are_skipped_once():
    whole = [read(batch) for batch in batches()]
    seeded = batches((2, 2))
    assert [read(batch) for batch in seeded] == whole[2:]
    assert len(list(seeded)) == 3
