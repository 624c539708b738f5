"""Optimiser options: they see the anchored model's gradients, all of them."""

import pytest
import torch
from helpers.builders import build_model, make_batch
from mmengine.optim import OptimWrapper

LR = 0.1
SEED = 1  # of these draws the first batch is masked, the second not


def make():
    torch.manual_seed(0)
    return build_model(preprocessor=dict(mask_prob=0.5, seed=SEED))


def wrapper(model, **kwargs):
    optimizer = torch.optim.SGD(model.parameters(), lr=LR)
    return OptimWrapper(optimizer, **kwargs)


def gradients(model, *batches):
    """Mean gradients of batches, and whether each was masked."""
    model.zero_grad()
    masked = []
    for batch in batches:
        data = model.data_preprocessor(batch, training=True)
        masked.append(data['data_samples'][0].reference_masked)
        (model(**data, mode='loss')['loss'] / len(batches)).backward()
    return [p.grad.clone() for p in model.parameters()], masked


def weights(model):
    return [p.detach().clone() for p in model.parameters()]


def test_accumulation_averages_masked_and_other_batches():
    batches = make_batch(8, seed=1), make_batch(8, seed=2)
    by_hand, model = make(), make()
    before = weights(model)
    grads, masked = gradients(by_hand, *batches)
    assert masked == [True, False]
    optim = wrapper(model, accumulative_counts=2)
    optim.initialize_count_status(model, 0, 2)
    model.train_step(make_batch(8, seed=1), optim)
    torch.testing.assert_close(weights(model), before, rtol=0, atol=0)
    model.train_step(make_batch(8, seed=2), optim)
    torch.testing.assert_close(
        weights(model), [w - LR * g for w, g in zip(before, grads)]
    )
    # the running statistics left the masked batch out, and had the other
    assert model.backbone.bn1.num_batches_tracked == 1


@pytest.mark.parametrize('max_norm', [0.05, 1e6], ids=['clips', 'does not'])
def test_clipping_takes_the_norm_of_all_gradients(max_norm):
    by_hand, model = make(), make()
    before = weights(model)
    gradients(by_hand, make_batch(8))
    norm = torch.nn.utils.clip_grad_norm_(by_hand.parameters(), max_norm)
    assert (norm > max_norm) == (max_norm < 1)
    optim = wrapper(model, clip_grad=dict(max_norm=max_norm))
    model.train_step(make_batch(8), optim)
    torch.testing.assert_close(
        weights(model),
        [w - LR * p.grad for w, p in zip(before, by_hand.parameters())],
    )


def test_a_masked_batch_moves_the_residual_half_of_the_stem_alone():
    model = make()
    stem = model.backbone.conv1.weight
    gradients(model, make_batch(8, seed=1))
    assert not stem.grad[:, :3].any() and stem.grad[:, 3:].any()
    gradients(model, make_batch(8, seed=2))
    assert stem.grad[:, :3].any() and stem.grad[:, 3:].any()


@pytest.mark.parametrize('name', ['', 'anchored-masked_'])
def test_auto_scale_lr_counts_images_not_references(run, name):
    runner = run(
        name,
        param_scheduler=None,
        auto_scale_lr=dict(base_batch_size=64, enable=True),
        **{'train_cfg.max_epochs': 1},
    )  # 16 images a batch, lr=0.1
    runner.train()
    assert runner.optim_wrapper.get_lr()['lr'] == [0.1 * 16 / 64]
