"""The whole of training is what a plain script does by hand."""

import copy
from itertools import product

import numpy as np
import pytest
import torch
from helpers.builders import NUM_CLASSES, build_model, image_bytes, make_batch
from helpers.plain_anchoring import PlainResNet18, train_step
from mmengine.optim import OptimWrapper

from mmanchor.models import data_preprocessor

B = 6
# who is whose reference, and which rows are masked, step by step
PARTNERS = [[1, 2, 3, 4, 5, 0], [3, 3, 1, 0, 2, 4], [5, 4, 3, 2, 1, 0]] * 2
COINS = {
    'batch': [[0] * B, [1] * B, [1] * B, [0] * B, [1] * B, [0] * B],
    'sample': [
        [0, 1, 0, 0, 1, 1],
        [1] * B,
        [0] * B,
        [1, 0, 0, 0, 0, 0],
        [1, 1, 1, 1, 1, 0],
        [0, 0, 1, 0, 1, 0],
    ],
}
SGD = dict(lr=0.05, momentum=0.9, weight_decay=5e-4)


def plain_copy(model, dtype):
    """The plain network with a model's weights and statistics."""
    net = PlainResNet18(width=8, classes=NUM_CLASSES).to(dtype)
    net.load_state_dict(
        {
            theirs(name): weight
            for name, weight in model.state_dict().items()
            if name.startswith(('backbone.', 'head.'))
        }
    )
    return net.train()


def theirs(name):
    return name.replace('backbone.', '').replace('head.', '')


def normalised(images, dtype):
    """RGB minus the mean over the deviation, in `build_model`."""
    return (images.to(dtype) - 127.5) / 64


def follow(optimizer):
    """Collect the gradients of every step."""
    steps = []

    def look(optimizer, *_):
        steps.append(
            [p.grad.clone() for p in optimizer.param_groups[0]['params']]
        )

    optimizer.register_step_pre_hook(look)
    return steps


def batches():
    return [make_batch(B, seed=step) for step in range(len(PARTNERS))]


def train_ours(model, mask_by, monkeypatch):
    """Losses and gradients of mmanchor's steps, with these draws."""
    partners, coins = iter(PARTNERS), iter(COINS[mask_by])
    monkeypatch.setattr(
        data_preprocessor,
        'draw_partners',
        lambda *_: torch.tensor(next(partners)),
    )
    monkeypatch.setattr(
        data_preprocessor,
        'draw_mask',
        lambda *_: np.array(next(coins), dtype=bool),
    )
    model.train()
    wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), **SGD))
    gradients = follow(wrapper.optimizer)
    losses = [
        model.train_step(batch, wrapper)['loss'].item() for batch in batches()
    ]
    return losses, gradients


def train_plain(net, dtype, mask_by, target, norm_stats):
    """The same by hand."""
    sgd = torch.optim.SGD(net.parameters(), **SGD)
    gradients, losses = follow(sgd), []
    for batch, partners, coins in zip(batches(), PARTNERS, COINS[mask_by]):
        images = normalised(batch['inputs'], dtype)
        losses.append(
            train_step(
                net,
                sgd,
                images,
                torch.arange(B),
                images[partners],
                torch.tensor(coins, dtype=torch.bool),
                target,
                norm_stats,
            )
        )
    return losses, gradients


def model_of(dtype, mask_by='batch', target='uniform', norm_stats='skip'):
    torch.manual_seed(0)
    model = build_model(
        preprocessor=dict(mask_prob=0.5, mask_by=mask_by),
        head=dict(masked_target=target),
        masked_norm_stats=norm_stats,
    )
    return model.to(dtype)


@pytest.mark.parametrize(
    'dtype,tolerance,mask_by,target,norm_stats',
    [
        (torch.float64, 1e-9, *case)
        for case in product(
            ('batch', 'sample'), ('uniform', 'label'), ('skip', 'update')
        )
    ]
    + [(torch.float32, 1e-5, 'batch', 'uniform', 'skip')],
)
def test_training_is_the_plain_script_s(
    dtype, tolerance, mask_by, target, norm_stats, monkeypatch
):
    close = dict(rtol=tolerance, atol=tolerance)
    model = model_of(dtype, mask_by, target, norm_stats)
    net = plain_copy(model, dtype)
    names = [theirs(name) for name, _ in model.named_parameters()]
    assert names == [name for name, _ in net.named_parameters()]
    losses, gradients = train_ours(model, mask_by, monkeypatch)
    expected, theirs_ = train_plain(net, dtype, mask_by, target, norm_stats)
    assert losses == pytest.approx(expected, rel=tolerance)
    assert len(gradients) == len(theirs_) == len(PARTNERS)
    for ours, plain in zip(gradients, theirs_):
        torch.testing.assert_close(ours, plain, **close)
    torch.testing.assert_close(
        plain_copy(model, dtype).state_dict(), net.state_dict(), **close
    )

    # and at test, over two references
    references, images = image_bytes(2, seed=77), image_bytes(4, seed=78)
    model.eval().reference_bank.fill(references)
    net.eval()
    x, references = (
        normalised(pixels, dtype) for pixels in (images, references)
    )
    with torch.no_grad():
        by_hand = sum(
            net(torch.cat([r.expand_as(x), x - r], 1)) / 2 for r in references
        )
        torch.testing.assert_close(model(x), by_hand, **close)


def test_the_settings_matter_to_the_plain_script():
    """Or nothing would be compared."""
    start = plain_copy(model_of(torch.float64), torch.float64)
    ends = {}
    for settings in product(
        ('batch', 'sample'), ('uniform', 'label'), ('skip', 'update')
    ):
        net = ends[settings] = copy.deepcopy(start)
        train_plain(net, torch.float64, *settings)
    for mask_by in ('batch', 'sample'):
        skip, update, label = (
            ends[mask_by, 'uniform', 'skip'],
            ends[mask_by, 'uniform', 'update'],
            ends[mask_by, 'label', 'skip'],
        )
        assert (skip.bn1.running_var - update.bn1.running_var).norm() > 1e-3
        assert torch.equal(skip.fc.weight, update.fc.weight)
        assert (skip.fc.weight - label.fc.weight).norm() > 1e-3
    assert (
        ends['batch', 'uniform', 'skip'].fc.weight
        - ends['sample', 'uniform', 'skip'].fc.weight
    ).norm() > 1e-3
