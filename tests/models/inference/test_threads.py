"""One model, or models with layers in common, called by several threads."""

import copy
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from helpers.builders import image_bytes
from helpers.small_models import build
from torch import nn

from mmanchor.functional import anchor
from mmanchor.functional.folding import replaced_forward

THREADS = 6


def models_with_common_layers():
    """Models of one backbone and head, with unlike banks and protocols."""
    first = build('convolution', k=3)
    models = [first]
    for seed, protocol in enumerate(
        (
            'single',
            'adaptive',
            dict(type='transduction', num_candidates=4, num_residuals=2),
        ),
        1,
    ):
        model = copy.deepcopy(first)
        model.backbone, model.head = first.backbone, first.head
        model.reference_bank.fill(image_bytes(4 + seed, size=32, seed=seed))
        model.reference_bank.fill_residuals(
            image_bytes(4, size=32, seed=seed).unflatten(0, (2, 2))
        )
        model.protocol = protocol
        models.append(model)
    return models


def in_threads(function, jobs):
    """Results of a job for each thread, all begun at once."""
    barrier = threading.Barrier(len(jobs))

    def work(job):
        barrier.wait()
        with torch.no_grad():
            return [function(*job) for _ in range(3)]

    with ThreadPoolExecutor(len(jobs)) as pool:
        return list(pool.map(work, jobs))


def check_answers(jobs):
    with torch.no_grad():
        expected = [model(images) for model, images in jobs]
    for model, _ in jobs:
        model.kept_maps.__init__()  # threads start without cached maps
    results = in_threads(lambda model, images: model(images), jobs)
    for answer, of_thread in zip(expected, results, strict=True):
        for one in of_thread:
            torch.testing.assert_close(one, answer, rtol=1e-4, atol=1e-5)


def test_threads_with_different_banks_answer_as_one_thread_does():
    models = models_with_common_layers()
    check_answers(
        [
            (models[i % 4], torch.randn(1 + i, 3, 32, 32))
            for i in range(THREADS)
        ]
    )


def test_threads_with_one_model_answer_as_one_thread_does():
    model = build('two branches', k=3)
    check_answers(
        [(model, torch.randn(1 + i, 3, 32, 32)) for i in range(THREADS - 1)]
        + [(model, torch.randn(2, 6, 32, 32))]
    )  # anchored already


class Stop(nn.Module):
    """Waits in the middle of a pass, in one thread."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer
        self.inside, self.go_on = threading.Event(), threading.Event()
        self.thread = None

    def forward(self, x):
        if threading.current_thread().name == self.thread:
            self.inside.set()
            assert self.go_on.wait(60)
        return self.layer(x)


@torch.no_grad()
def test_a_pass_of_another_thread_changes_nothing():
    model = build('convolution', k=2)
    images = torch.randn(2, 3, 32, 32)
    anchored = anchor(images, torch.randn(2, 3, 32, 32))
    expected, of_anchored = model(images), model(anchored)
    stop = model.backbone.layer1 = Stop(model.backbone.layer1)
    stop.thread = 'slow'
    answers = []

    def slow_pass():
        with torch.no_grad():
            answers.append(model(images))

    thread = threading.Thread(target=slow_pass, name='slow')
    thread.start()
    assert stop.inside.wait(60)
    try:
        torch.testing.assert_close(model(anchored), of_anchored)
        torch.testing.assert_close(model(images), expected)
        stem = model.backbone.conv1
        copies = [copy.deepcopy(stem), pickle.loads(pickle.dumps(stem))]
    finally:
        stop.go_on.set()
        thread.join()
    torch.testing.assert_close(answers[0], expected)
    assert 'forward' not in stem.__dict__
    rows = torch.randn(1, 6, 8, 8)
    for one in copies:
        one.weight.mul_(2)
        torch.testing.assert_close(one(rows), 2 * stem(rows))
        with replaced_forward({one: torch.zeros_like}):
            assert not one(rows).any()
        assert 'forward' not in one.__dict__


def test_a_forward_of_the_layer_s_own_comes_back():
    layer = nn.Identity()
    layer.forward = lambda x: x + 1
    with replaced_forward({layer: lambda x: 10 * x}):
        assert layer(1) == 10
        with replaced_forward({layer: lambda x: 20 * x}):
            assert layer(1) == 20
        assert layer(1) == 10
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(layer, 1).result() == 2
    assert layer(1) == 2


def test_an_error_in_one_thread_leaves_the_others_alone():
    layer = nn.Identity()
    with replaced_forward({layer: lambda x: 10 * x}):
        with pytest.raises(ZeroDivisionError):
            with replaced_forward({layer: lambda x: 1 / x}):
                layer(0)
        assert layer(1) == 10
    assert 'forward' not in layer.__dict__
