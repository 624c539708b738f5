"""Clocks that wait for a GPU."""

import torch

from mmanchor.utils import timing


def test_work_on_a_gpu_is_timed_between_two_events_with_the_device_idle(
    monkeypatch,
):
    calls = []

    class Event:
        def __init__(self, enable_timing):
            assert enable_timing

        def record(self):
            calls.append('record')

        def elapsed_time(self, other):
            return 3000.0  # milliseconds

    monkeypatch.setattr(torch.cuda, 'Event', Event)
    monkeypatch.setattr(
        torch.cuda, 'synchronize', lambda _: calls.append('synchronize')
    )
    taken = timing.seconds(
        lambda: calls.append('work'), torch.device('cuda'), repeats=2
    )
    assert taken == 1.5
    assert calls == [
        'synchronize', 'record', 'work', 'work', 'record', 'synchronize'
    ]  # fmt: skip


def test_work_on_a_cpu_is_the_mean_of_its_repeats(monkeypatch):
    clock = iter([10.0, 16.0])
    monkeypatch.setattr(timing.time, 'perf_counter', lambda: next(clock))
    assert timing.seconds(lambda: None, torch.device('cpu'), repeats=3) == 2
