"""When a cached value is computed again, and what asking for it costs."""

import pytest
import torch
from helpers.pretend_device import pretend_device

from mmanchor.models.inference.cache import TensorCache


@pytest.mark.parametrize('versioned, waits', [(True, 0), (False, 1)])
def test_only_tensors_without_versions_are_compared_by_value(versioned, waits):
    with pretend_device() as events:
        tensors = [torch.ones(2, device='cuda:0') for _ in range(3)]
        split = (tensors[:0], tensors) if versioned else (tensors, tensors[:0])
        cache = TensorCache()
        first = cache.get(split[0], object, versioned=split[1])
        events.clear()
        again = cache.get(split[0], object, versioned=split[1])
        assert again is first
        assert [event.kind for event in events] == ['wait'] * waits
        tensors[1].add_(1)
        assert cache.get(split[0], object, versioned=split[1]) is not first


def test_another_tensor_with_the_same_values_computes_nothing_again():
    cache = TensorCache()
    first = cache.get([], object, versioned=[torch.ones(2)])
    assert cache.get([], object, versioned=[torch.ones(2)]) is first
    assert cache.get([], object, versioned=[torch.ones(3)]) is not first


def test_weights_swapped_behind_autograds_back_are_noticed():
    weight = torch.nn.Parameter(torch.ones(2))
    cache = TensorCache()
    first = cache.get([weight], object)
    weight.data = torch.zeros(2)
    assert cache.get([weight], object) is not first
