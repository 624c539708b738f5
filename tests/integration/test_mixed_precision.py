"""Automatic mixed precision, in bfloat16."""

import mmengine.optim.optimizer.amp_optimizer_wrapper as amp
import pytest
import torch
import torch.nn.functional as F
from helpers.builders import NUM_CLASSES, build_model, image_bytes, make_batch
from mmengine.optim import AmpOptimWrapper
from mmpretrain.models import ClsDataPreprocessor

MASK_SOME = dict(mask_prob=0.5, mask_by='sample', seed=0)


@pytest.fixture
def amp_on_cpu(monkeypatch):
    """MMEngine asks for a GPU, which bfloat16 does without."""
    monkeypatch.setattr(amp, 'is_cuda_available', lambda: True)
    monkeypatch.setattr(
        amp, 'GradScaler', lambda: torch.amp.GradScaler('cpu', enabled=False)
    )


class Recording(torch.nn.Module):
    """Keeps what passes through a module."""

    def __init__(self, module):
        super().__init__()
        self.seen = []
        module.register_forward_hook(
            lambda _, inputs, output: self.seen.append((inputs[0], output))
        )


def test_images_are_anchored_in_full_precision(amp_on_cpu):
    pixels = 255 * torch.rand(8, 3, 16, 16)  # bytes would survive rounding
    model = build_model(preprocessor=dict(MASK_SOME, mask_prob=0))
    stem = Recording(model.backbone.conv1)
    optim = AmpOptimWrapper(
        dtype='bfloat16', optimizer=torch.optim.SGD(model.parameters(), lr=0.1)
    )
    model.train_step(make_batch(8, inputs=pixels), optim)
    ((inputs, output),) = stem.seen
    assert output.dtype == torch.bfloat16  # so it is on
    assert inputs.dtype == torch.float32
    images = ClsDataPreprocessor(mean=[127.5] * 3, std=[64.0] * 3)(
        dict(inputs=pixels)
    )['inputs']
    r, d = inputs.chunk(2, dim=1)
    torch.testing.assert_close(r + d, images)


def test_losses_and_log_are_in_full_precision(amp_on_cpu):
    model = build_model(preprocessor=MASK_SOME)
    logits = Recording(model.head.fc)
    data = model.data_preprocessor(make_batch(8), training=True)
    with torch.autocast('cpu', torch.bfloat16):
        losses = model(**data, mode='loss')
    scores = logits.seen[0][1]
    assert scores.dtype == torch.bfloat16
    assert {
        value.dtype for key, value in losses.items() if torch.is_tensor(value)
    } == {torch.float32}
    target = torch.eye(NUM_CLASSES)[:8]
    mask = torch.tensor([s.reference_masked for s in data['data_samples']])
    target[mask] = 1 / NUM_CLASSES
    torch.testing.assert_close(
        losses['loss'], F.cross_entropy(scores.float(), target)
    )


def test_a_run_is_that_of_full_precision_but_for_rounding(run, amp_on_cpu):
    losses = []
    for options in (
        dict(),
        {
            'optim_wrapper.type': 'AmpOptimWrapper',
            'optim_wrapper.dtype': 'bfloat16',
            'val_cfg.fp16': True,
        },
    ):
        runner = run(
            **{
                'train_cfg.max_epochs': 2,
                'train_cfg.val_interval': 2,
                **options,
            }
        )
        runner.train()
        parameters = list(runner.model.parameters())
        assert {p.dtype for p in parameters} == {torch.float32}
        assert all(p.isfinite().all() for p in parameters)
        losses.append(
            torch.tensor(runner.message_hub.get_scalar('train/loss').data[0])
        )
    assert len(losses[0]) == 8
    torch.testing.assert_close(*losses, rtol=0, atol=0.1)
    assert not torch.equal(*losses)


def test_references_are_averaged_in_full_precision():
    model = build_model().eval()
    model.reference_bank.fill(image_bytes(3, seed=5))
    images = model.data_preprocessor(make_batch(4))['inputs']
    with torch.no_grad(), torch.autocast('cpu', torch.bfloat16):
        each = model.reference_logits(images)
        samples = model.predict(images)
    assert each.dtype == torch.float32
    assert torch.equal(each, each.bfloat16().float())  # the network's are not
    mean = torch.stack([s.pred_logits for s in samples])
    torch.testing.assert_close(mean, each.mean(0), rtol=0, atol=1e-6)
    spread = torch.stack([s.pred_std for s in samples])
    torch.testing.assert_close(spread, each.std(0, correction=0))
    full = model.reference_logits(images)
    torch.testing.assert_close(each, full, rtol=0.1, atol=0.1)


def test_without_a_gpu_the_host_says_so(run, monkeypatch):
    monkeypatch.setattr(amp, 'is_cuda_available', lambda: False)
    with pytest.raises(AssertionError, match='only available training on gpu'):
        run(**{'optim_wrapper.type': 'AmpOptimWrapper'}).train()
