"""Clocks, memory and operations."""

import time

import pytest
import torch
from helpers.builders import image_bytes
from helpers.small_models import build
from time_and_memory import (
    full_precision,
    held_bytes,
    operations,
    peak_bytes,
    quartiles,
    seconds,
    shuffled_rounds,
)

CPU = torch.device('cpu')


def test_peak_memory_is_the_largest_sum_of_allocations():

    def work():
        first = torch.empty(1000, 1000)  # 4 MB
        second = torch.empty(2000, 1000)  # and 8
        del first
        third = torch.empty(500, 1000)  # 2 instead of 4
        return second, third

    assert peak_bytes(work, CPU) == 12_000_000
    kept = torch.empty(3000, 1000)
    assert peak_bytes(lambda: kept.add_(1), CPU) < 1000


def test_memory_of_a_backward_pass_is_counted():
    weight = torch.ones(500, 500, requires_grad=True)

    def work():
        weight.exp().exp().sum().backward()
        weight.grad = None

    # both results are kept, till the last one's gradient is there
    assert peak_bytes(work, CPU) == pytest.approx(3_000_000, abs=100)


def test_held_memory_counts_shared_tensors_once_and_references():
    net = torch.nn.Linear(10, 10, bias=False)  # 400 bytes
    assert held_bytes(net) == held_bytes(net, [net.weight]) == 400
    optimizer = torch.optim.SGD(net.parameters(), lr=1, momentum=0.9)
    assert held_bytes(net, optimizer) == 400
    net(torch.ones(1, 10)).sum().backward()
    optimizer.step()
    optimizer.zero_grad()
    assert held_bytes(net, optimizer) == 800
    model = build('convolution', k=2)
    before = held_bytes(model)
    model.reference_bank.fill(image_bytes(5, size=32))
    assert held_bytes(model) - before == 3 * 3 * 32 * 32
    with torch.no_grad():
        model(torch.zeros(1, 3, 32, 32))
    # the stem's maps are kept, and a copy of what they were made from
    maps, references = 5 * 8 * 32 * 32 * 4, 5 * 3 * 32 * 32
    assert held_bytes(model) - before > maps + references


def test_operations_are_those_of_forward_and_backward():
    x, w = torch.ones(2, 3), torch.ones(3, 5, requires_grad=True)
    assert operations(lambda: x @ w) == 2 * 2 * 3 * 5
    assert operations(lambda: (x @ w).sum().backward()) == 2 * 2 * 2 * 3 * 5


def test_seconds_pass():
    assert 0.02 <= seconds(lambda: time.sleep(0.02), CPU) < 2
    calls = []
    taken = seconds(lambda: calls.append(time.sleep(0.02)), CPU, repeats=4)
    assert len(calls) == 4
    assert 0.02 <= taken < 0.06  # of one


def test_full_precision_ends():
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = True
    try:
        with full_precision():
            assert not torch.backends.cudnn.allow_tf32
        assert torch.backends.cudnn.allow_tf32
    finally:
        torch.backends.cudnn.allow_tf32 = before


def test_each_round_has_every_name_once_in_an_order_of_its_own():
    names = list('abcdef')
    turns = list(shuffled_rounds(names, 5))
    rounds = [
        [name for index, name in turns if index == one] for one in range(5)
    ]
    assert [sorted(order) for order in rounds] == [names] * 5
    assert len(set(map(tuple, rounds))) > 1
    assert list(shuffled_rounds(names, 5)) == turns
    assert list(shuffled_rounds(names, 5, seed=1)) != turns


def test_quartiles_of_one_value_are_that_value():
    assert quartiles([2.0]) == dict(median=2.0, low=2.0, high=2.0)
    assert quartiles(range(5)) == dict(median=2, low=1, high=3)


def test_a_gpu_measures_the_time_by_events_around_all_repeats(monkeypatch):
    log = []

    class Event:
        def __init__(self, enable_timing):
            assert enable_timing

        def record(self):
            log.append('record')

        def elapsed_time(self, other):
            return 6.0  # milliseconds

    monkeypatch.setattr(torch.cuda, 'Event', Event)
    monkeypatch.setattr(
        torch.cuda, 'synchronize', lambda device: log.append('wait')
    )
    device = torch.device('cuda')
    assert seconds(lambda: log.append('call'), device, 3) == 0.002
    assert log == ['wait', 'record', *['call'] * 3, 'record', 'wait']
