"""All processes start from the same, or none does."""

import datetime

import pytest
import torch
import torch.distributed as dist
from helpers.forked import spawn
from mmengine.runner import Runner

from mmanchor.engine.rank_agreement import check_ranks_agree

WORLD = 3


def same():
    return dict(
        epoch=3,
        counter=torch.tensor(7),
        bank=torch.arange(6, dtype=torch.uint8).view(2, 3),
    )


def on_rank(rank, folder):
    dist.init_process_group(
        'gloo',
        f'file://{folder}/store',
        rank=rank,
        world_size=WORLD,
        timeout=datetime.timedelta(seconds=300),
    )
    check_ranks_agree(same())
    parts = same()
    if rank:
        parts['bank'][0, 0] = rank
    if rank == 2:
        parts['counter'] += 1
    with pytest.raises(ValueError) as error:
        check_ranks_agree(parts)
    torch.save(str(error.value), f'{folder}/{rank}.pt')
    dist.destroy_process_group()


def test_what_differs_is_named_with_its_ranks_on_all_of_them(tmp_path):
    spawn(on_rank, (str(tmp_path),), nprocs=WORLD)
    message, *others = (
        torch.load(tmp_path / f'{rank}.pt') for rank in range(WORLD)
    )
    assert others == [message] * 2
    assert (
        'Expected all ranks to start from the same, but bank of rank 1, 2 (2x3, sha256 '
        in message
    )
    assert 'counter of rank 2 (8) differs from that of rank 0 (7)' in message
    assert 'epoch' not in message
    assert 'start from one checkpoint (`--resume CHECKPOINT`)' in message


def train_on_rank(rank, cfg, folder):
    dist.init_process_group(
        'gloo',
        f'file://{folder}/store',
        rank=rank,
        world_size=2,
        timeout=datetime.timedelta(seconds=300),
    )
    cfg.data_preprocessor.references = dict(
        type='ReferenceSet', size=20, seed=rank
    )
    with pytest.raises(ValueError, match='but the reference set of rank 1 '):
        Runner.from_cfg(cfg).train()
    dist.destroy_process_group()


def test_another_reference_set_on_one_rank(
    small_config, tmp_path, monkeypatch
):
    monkeypatch.setenv('LOCAL_RANK', '0')
    cfg = small_config(
        launcher='pytorch',
        model_wrapper_cfg=dict(
            type='MMDistributedDataParallel', device_ids=None
        ),
    )
    spawn(train_on_rank, (cfg, str(tmp_path)), nprocs=2)
