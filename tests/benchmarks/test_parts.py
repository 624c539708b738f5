"""The clocks of the benchmark and what it compares with."""

import time

import pytest
import torch
from helpers.builders import image_bytes
from helpers.small_models import build

from mmanchor.benchmarks.naive import (
    differing,
    naive_mean,
    naive_search,
    naive_training_rows,
    naive_transduction,
    untied_picks,
)
from mmanchor.functional import anchor, blank_references
from mmanchor.models.inference.protocols import build_protocol
from mmanchor.utils.timing import (
    full_precision,
    held_bytes,
    operations,
    peak_bytes,
    seconds,
)

CPU = torch.device('cpu')


def test_memory_is_what_is_held_at_once():

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


def test_what_is_held_counts_once_and_with_references():
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
    assert untied_picks(model, fast, x, r, of - to, 1e-3) == (0, 0)
    assert untied_picks(model, naive + 1, x, r, of - to, 1e-3) == (5, 0)
    # two candidates alike: either may be picked
    worst = naive_search(x, r, of - to).argmax(1)
    other = model(anchor(x, r[worst]))
    assert untied_picks(model, other, x, r, of - to, 1e-3) == (5, 0)
    assert untied_picks(model, other, x, r, of - to, 1e-3, tie=9.0) == (0, 5)


@pytest.mark.parametrize(
    'value,differs', [(1.01, True), (1.0001, False), (float('nan'), True)]
)
def test_rows_differ_by_a_share_of_their_norm(value, differs):
    expected = torch.tensor([[300.0, 400.0]])
    assert differing(expected * value, expected, 1e-3).tolist() == [differs]
