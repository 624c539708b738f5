"""Synchronised batch normalisation, as far as it goes without GPUs.

In a process group its layers refuse to train on CPU; without one they train
as others do, and they always predict. Where ranks train together here, a layer
with the statistics of all ranks' rows stands where they would.
"""

import datetime

import pytest
import torch
import torch.distributed as dist
from helpers.builders import build_model, image_bytes, make_batch
from helpers.forked import spawn
from mmengine.model import convert_sync_batchnorm, revert_sync_batchnorm
from mmengine.optim import OptimWrapper
from mmengine.registry import MODEL_WRAPPERS

CONVERSIONS = {
    'none': lambda model: model,
    'sync': convert_sync_batchnorm,
    'reverted': lambda model: revert_sync_batchnorm(
        convert_sync_batchnorm(model)
    ),
}


def train(conversion, norm_stats):
    """Statistics after a masked batch and one that is not, and the losses."""
    torch.manual_seed(0)
    model = build_model(
        preprocessor=dict(mask_prob=0.5, seed=1), masked_norm_stats=norm_stats
    )
    model = CONVERSIONS[conversion](model)
    optim = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1))
    statistics, losses = [], []
    for i in range(2):
        out = model.train_step(make_batch(8, seed=i), optim)
        losses.append([out['loss'].item(), out['masked_share'].item()])
        statistics.append(
            {
                k: v.clone()
                for k, v in model.state_dict().items()
                if 'running' in k or 'tracked' in k
            }
        )
    return model, statistics, torch.tensor(losses)


@pytest.mark.parametrize('norm_stats', ['skip', 'update'])
@pytest.mark.parametrize('conversion', ['sync', 'reverted'])
def test_converted_layers_train_as_they_did(conversion, norm_stats):
    _, expected, losses = train('none', norm_stats)
    model, statistics, converted_losses = train(conversion, norm_stats)
    synced = sum(
        isinstance(m, torch.nn.SyncBatchNorm) for m in model.modules()
    )
    assert bool(synced) == (conversion == 'sync')
    assert not any(type(m) is torch.nn.BatchNorm2d for m in model.modules())
    torch.testing.assert_close(converted_losses, losses)
    torch.testing.assert_close(statistics, expected)
    assert losses[:, 1].tolist() == [1, 0]  # masked, then not
    masked, then = (
        {v.item() for k, v in step.items() if 'tracked' in k}
        for step in statistics
    )
    assert (masked, then) == (
        ({0}, {1}) if norm_stats == 'skip' else ({1}, {2})
    )


@MODEL_WRAPPERS.register_module()
class OnlyWrapper(torch.nn.Module):
    """Stands where DistributedDataParallel would."""

    def __init__(self, module):
        super().__init__()
        self.module = module
        self.test_step = module.test_step


@pytest.fixture
def one_process(tmp_path, monkeypatch):
    monkeypatch.setenv('LOCAL_RANK', '0')
    dist.init_process_group(
        'gloo', f'file://{tmp_path}/store', rank=0, world_size=1
    )
    yield
    dist.destroy_process_group()


def test_sync_bn_of_the_config_tests_as_without(run, one_process, tmp_path):
    path = str(tmp_path / 'start.pth')
    model = run().model
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):  # as if it had trained
            module.running_mean.normal_(std=0.1)
    model.reference_bank.fill(image_bytes(10))
    torch.save(dict(state_dict=model.state_dict(), meta={}), path)
    plain = run(load_from=path)
    synced = run(
        load_from=path,
        launcher='pytorch',
        sync_bn='torch',
        model_wrapper_cfg=dict(type='OnlyWrapper'),
    )
    assert (
        sum(
            isinstance(m, torch.nn.SyncBatchNorm)
            for m in synced.model.modules()
        )
        == 20
    )
    assert synced.test() == pytest.approx(plain.test())
    assert torch.equal(
        synced.model.module.reference_bank.images, image_bytes(10)
    )


class SyncBatchNorm(torch.nn.BatchNorm2d):
    """Computes as PyTorch's layer of that name does, on the CPU too."""

    def forward(self, x):
        rows = x.detach().transpose(0, 1).flatten(1)
        sums = torch.stack([rows.sum(1), rows.square().sum(1)])
        dist.all_reduce(sums)
        count = rows.size(1) * dist.get_world_size()
        mean, square = sums / count
        if self.track_running_stats:
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(square - mean**2, self.momentum)
        return x - mean[:, None, None]


def train_on_rank(rank, folder, masks):
    torch.set_num_threads(1)
    dist.init_process_group(
        'gloo',
        f'file://{folder}/store',
        rank=rank,
        world_size=2,
        timeout=datetime.timedelta(seconds=300),
    )
    torch.manual_seed(0)
    model = build_model(preprocessor=dict(mask_prob=0.8, seed=3, **masks))
    model.backbone.bn1 = norm = SyncBatchNorm(8)
    optim = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.0))
    shares, means = [], []
    for i in range(10):
        out = model.train_step(make_batch(2, seed=2 * i + rank), optim)
        shares.append(out['masked_share'].item())
        means.append(norm.running_mean.clone())
    torch.save((shares, torch.stack(means)), f'{folder}/rank{rank}.pt')
    dist.destroy_process_group()


@pytest.mark.parametrize(
    'masks', [dict(mask_by='sample'), dict(mask_coin='rank')], ids=str
)
def test_ranks_that_mask_differently_keep_the_same_statistics(masks, tmp_path):
    spawn(train_on_rank, (str(tmp_path), masks), nprocs=2)
    (shares, means), (others, other_means) = (
        torch.load(tmp_path / f'rank{rank}.pt') for rank in range(2)
    )
    assert torch.equal(means, other_means)
    of_both = list(zip(shares, others))
    assert {share == 1 for share in shares} == {True, False}
    assert shares != others and (1, 1) in of_both
    before = torch.cat([torch.zeros(1, 8), means[:-1]])
    stayed = (means == before).all(1).tolist()
    assert stayed == [pair == (1, 1) for pair in of_both]
