"""All processes start from the same, or none does."""

import datetime
import time

import pytest
import torch
import torch.distributed as dist
from helpers.forked import spawn

from mmanchor.engine.rank_agreement import (
    check_ranks_agree,
    read_on_first_rank,
)

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


def test_all_ranks_raise_with_the_values_and_ranks_that_differ(tmp_path):
    spawn(on_rank, (str(tmp_path),), nprocs=WORLD)
    message, *others = (
        torch.load(tmp_path / f'{rank}.pt') for rank in range(WORLD)
    )
    assert others == [message] * 2
    assert (
        'Expected all ranks to start from the same state, but bank of rank 1, 2 (2x3, sha256 '
        in message
    )
    assert 'counter of rank 2 (8) differs from that of rank 0 (7)' in message
    assert 'epoch' not in message
    assert 'the same checkpoint (`--resume CHECKPOINT`)' in message


class Unpicklable(KeyError):
    def __reduce__(self):
        raise TypeError('stays where it is')


def receive_on_rank(rank, folder):
    dist.init_process_group(
        'gloo',
        f'file://{folder}/store',
        rank=rank,
        world_size=2,
        timeout=datetime.timedelta(seconds=4),
    )

    def read():
        assert rank == 0
        time.sleep(6)  # longer than the ranks wait for each other
        return torch.arange(6, dtype=torch.uint8).view(2, 3), 'digits'

    received = read_on_first_rank(read)
    errors = []
    for error in (
        ValueError('no image'),
        FileNotFoundError(2, 'No such file', 'a.png'),
        Unpicklable('gone'),
    ):

        def fail(error=error):
            assert rank == 0
            raise error

        with pytest.raises(Exception) as raised:
            read_on_first_rank(fail)
        errors.append(f'{raised.type.__name__}: {raised.value}')
    dist.barrier()  # the group is still at work
    torch.save((received, errors), f'{folder}/{rank}.pt')
    dist.destroy_process_group()


def test_ranks_get_what_the_first_reads_or_raises_however_long_it_takes(
    tmp_path,
):
    spawn(receive_on_rank, (str(tmp_path),), nprocs=2)
    (received, errors), (others, other_errors) = (
        torch.load(tmp_path / f'{rank}.pt') for rank in range(2)
    )
    assert torch.equal(
        received[0], torch.tensor([[0, 1, 2], [3, 4, 5]], dtype=torch.uint8)
    )
    assert torch.equal(received[0], others[0])
    assert received[1] == others[1] == 'digits'
    assert errors[:2] == other_errors[:2]
    assert errors[0] == 'ValueError: no image'
    assert errors[2] == "Unpicklable: 'gone'"
    assert other_errors[2] == "ValueError: Unpicklable: 'gone'"
