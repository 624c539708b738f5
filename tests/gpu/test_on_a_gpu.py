"""What only a GPU can show. Run with ``pytest -m gpu tests/gpu``."""

import contextlib
import copy
import os
from types import SimpleNamespace

import pytest
import torch
import torch.distributed as dist
from helpers.builders import image_bytes, make_batch
from helpers.small_models import build
from mmpretrain.registry import MODELS
from models.test_devices import (
    PROTOCOLS,
    SUITES,
    TRAINING,
    Batches,
    Images,
    fits,
    network,
)

from mmanchor.functional import fit_temperature
from mmanchor.models import fold_reference
from mmanchor.models.folding import FoldedReferences
from mmanchor.suite.measure import measure

pytestmark = pytest.mark.gpu
# the script for a lent card tries some of these tests on a CPU
DEVICE = os.environ.get('MMANCHOR_TEST_DEVICE', 'cuda:0')


@pytest.fixture(autouse=True)
def full_precision():
    """TF32, cuDNN's default for convolutions, is too coarse to compare."""
    backends = torch.backends.cudnn, torch.backends.cuda.matmul
    before = [backend.allow_tf32 for backend in backends]
    for backend in backends:
        backend.allow_tf32 = False
    yield
    for backend, allowed in zip(backends, before):
        backend.allow_tf32 = allowed


@contextlib.contextmanager
def no_waits():
    """Let PyTorch raise an error where the host waits for the device."""
    if DEVICE == 'cpu':
        yield
        return
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode('error')
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode('default')


def trained(case):
    """The model of a case in training, and the context of its precision."""
    settings = dict(TRAINING[case])
    amp = settings.pop('amp', False)
    layout = settings.pop('layout', torch.contiguous_format)
    model = network(**settings).train()
    if model.data_preprocessor.reference_set is not None:
        model.data_preprocessor.reference_set.load(
            Images(dict(inputs=one) for one in image_bytes(5, size=32))
        )
    precision = torch.autocast(
        torch.device(DEVICE).type, torch.bfloat16, enabled=amp
    )
    return model.to(memory_format=layout), precision


def step_of(model, seed=0):
    data = model.data_preprocessor(
        make_batch(8, size=32, seed=seed), training=True
    )
    return model(**data, mode='loss')


@pytest.mark.parametrize('case', TRAINING)
def test_forward_loss_and_backward_wait_for_nothing(case):
    model, precision = trained(case)
    model.to(DEVICE)
    with precision:
        step_of(model)['loss'].backward()  # kernels are chosen
    for seed in range(3):
        data = model.data_preprocessor(
            make_batch(8, size=32, seed=seed), training=True
        )
        with no_waits(), precision:
            losses = model(**data, mode='loss')
            losses['loss'].backward()
        assert losses['loss'].isfinite()


# they draw from the state of the process
MIXED = ('Mixup', 'CutMix')


@pytest.mark.parametrize('case', [one for one in TRAINING if one not in MIXED])
def test_a_step_is_that_of_the_cpu(case):
    on_cpu, precision = trained(case)
    if case == 'autocast':  # half precision rounds in another order
        precision = contextlib.nullcontext()
    on_gpu = copy.deepcopy(on_cpu).to(DEVICE)
    with precision:
        expected, losses = step_of(on_cpu), step_of(on_gpu)
    assert losses.keys() == expected.keys()
    for key in ('loss', 'masked_share'):
        torch.testing.assert_close(
            losses[key].cpu(), expected[key], rtol=1e-3, atol=1e-4
        )


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
@pytest.mark.parametrize('name', ['convolution', 'patches', 'swin v2'])
def test_half_precision_trains_as_float32_does(name, dtype):
    model = network(name, mask_prob=0.5, mask_by='sample').train().to(DEVICE)
    other = copy.deepcopy(model)
    expected = step_of(model)['loss']
    with torch.autocast(torch.device(DEVICE).type, dtype):
        loss = step_of(other)['loss']
    torch.testing.assert_close(loss.float(), expected, rtol=0.05, atol=0.05)
    expected.backward(), loss.backward()
    one, two = (
        torch.cat([p.grad.flatten() for p in each.parameters()])
        for each in (model, other)
    )
    assert torch.cosine_similarity(one, two, dim=0) > 0.8


def answering(protocol, k=5, anchor_at='image'):
    """A model that answers by a protocol, on the CPU."""
    model = network(anchor_at=anchor_at).eval()
    model.reference_bank.fill(image_bytes(k, size=32))
    model.reference_bank.fill_residuals(
        image_bytes(6, size=32).unflatten(0, (3, 2))
    )
    model.protocol = protocol
    return model


@pytest.mark.parametrize('case', PROTOCOLS)
@torch.no_grad()
def test_a_protocol_answers_as_on_the_cpu(case):
    model = answering(**PROTOCOLS[case])
    images = torch.randn(8, 3, 32, 32)
    expected = model(images)
    on_gpu = model.to(DEVICE)(images.to(DEVICE))
    torch.testing.assert_close(on_gpu.cpu(), expected, rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize('at', ['image', 'layer3', 'head'])
@torch.no_grad()
def test_references_that_are_known_are_used_without_a_wait(at):
    model = answering('mean', anchor_at=at).to(DEVICE)
    images = torch.randn(8, 3, 32, 32, device=DEVICE)
    expected = model(images)
    # the one wait of a batch compares weights
    with model.kept_maps.comparing_once():
        model(images)
        with no_waits():
            found = model(images)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize('case', SUITES)
def test_a_suite_measures_as_on_the_cpu(case):
    settings = dict(SUITES[case])
    given = fits()[: settings.pop('fits', 1)]
    model = answering('mean')
    found = []
    for device in ('cpu', DEVICE):
        ready = SimpleNamespace(model=model.to(device))
        found.append(measure(ready, Batches(2), device, given, **settings))
    for expected, measured in zip(*found):
        assert measured.figures == pytest.approx(
            expected.figures, rel=0.05, abs=0.05, nan_ok=True
        )
        assert measured.scores.keys() == expected.scores.keys()


def test_a_temperature_is_that_of_the_cpu():
    logits = 5 * torch.eye(10).repeat(3, 1)
    logits[0] = logits[1]
    labels = torch.arange(10).repeat(3)
    expected = fit_temperature(logits, labels)
    found = fit_temperature(logits.to(DEVICE), labels.to(DEVICE))
    assert found == pytest.approx(expected, rel=1e-3)


@torch.no_grad()
def test_a_folded_model_is_captured_in_a_graph():
    model = build('convolution', k=1).to(DEVICE)
    for folded in (fold_reference(model), FoldedReferences(model)):
        images = torch.randn(4, 3, 32, 32, device=DEVICE)
        side = torch.cuda.Stream()
        with torch.cuda.stream(side):
            for _ in range(3):
                folded(images)
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            captured = folded(images)
        images.normal_()
        graph.replay()
        first = captured if torch.is_tensor(captured) else captured[0]
        again = folded(images)
        again = again if torch.is_tensor(again) else again[0]
        torch.testing.assert_close(first, again)


def test_two_runs_with_deterministic_algorithms_are_equal(monkeypatch):
    monkeypatch.setenv('CUBLAS_WORKSPACE_CONFIG', ':4096:8')
    torch.use_deterministic_algorithms(True)
    try:
        first = network(mask_prob=0.5, mask_by='sample').train().to(DEVICE)
        found = []
        for model in (first, copy.deepcopy(first)):
            for seed in range(3):
                step_of(model, seed)['loss'].backward()
            found.append([p.grad for p in model.parameters()])
        assert all(map(torch.equal, *found))
    finally:
        torch.use_deterministic_algorithms(False)


def test_synchronised_batch_norm_trains_over_nccl(tmp_path):
    dist.init_process_group(
        'nccl', f'file://{tmp_path}/store', rank=0, world_size=1
    )
    try:
        model = network(mask_prob=0.5, mask_by='sample').train().to(DEVICE)
        expected = step_of(copy.deepcopy(model))['loss']
        model = torch.nn.SyncBatchNorm.convert_sync_batchnorm(model)
        wrapped = MODELS.build(
            dict(
                type='MMDistributedDataParallel',
                module=model,
                device_ids=[0],
                broadcast_buffers=False,
            )
        )
        data = model.data_preprocessor(make_batch(8, size=32), training=True)
        loss = wrapped(**data, mode='loss')['loss']
        torch.testing.assert_close(loss, expected, rtol=1e-3, atol=1e-4)
        loss.backward()
        assert all(p.grad is not None for p in model.parameters())
    finally:
        dist.destroy_process_group()
