"""Two processes that train together, on CPU."""

import os

import pytest
import torch
import torch.distributed as dist
from helpers.forked import spawn
from mmengine.runner import Runner
from mmpretrain.registry import MODELS

from mmanchor.engine import KReferenceHook
from mmanchor.models import AnchoringDataPreprocessor, build_protocol


@MODELS.register_module()
class KeepingPreprocessor(AnchoringDataPreprocessor):
    """Keeps the masks, and the state that references are drawn from."""

    def _draw_and_combine(self, images):
        anchored, mask = super()._draw_and_combine(images)
        self.__dict__.setdefault('masks', []).append(all(mask))
        return anchored, mask

    def _draw_from_batch(self, images, generator):
        state = generator.bit_generator.state['state']['state']
        self.__dict__.setdefault('states', []).append(state)
        return super()._draw_from_batch(images, generator)


def train_on_rank(rank, cfg, folder):
    torch.set_num_threads(1)
    os.environ['LOCAL_RANK'] = str(rank)
    dist.init_process_group(
        'gloo', f'file://{folder}/store', rank=rank, world_size=2
    )
    cfg.custom_hooks[0].seed = rank  # ranks would differ if left alone
    runner = Runner.from_cfg(cfg)
    runner.train()
    (hook,) = (h for h in runner.hooks if isinstance(h, KReferenceHook))
    hook.protocol = build_protocol(
        dict(type='transduction', num_candidates=12, num_residuals=5)
    )
    runner.test()  # candidates and residuals are drawn anew
    model = runner.model.module
    bank = model.reference_bank
    torch.save(
        (
            bank.images,
            bank.residual_pairs,
            model.data_preprocessor.masks,
            model.data_preprocessor.states,
        ),
        f'{folder}/rank{rank}.pt',
    )
    dist.destroy_process_group()


@pytest.mark.parametrize('coin', ['shared', 'rank'])
def test_ranks_share_bank_and_coin_and_draw_their_own_references(
    small_config, tmp_path, coin
):
    cfg = small_config(
        launcher='pytorch',
        data_preprocessor=dict(
            type='KeepingPreprocessor', mask_prob=0.5, mask_coin=coin
        ),
        model_wrapper_cfg=dict(
            type='MMDistributedDataParallel',
            device_ids=None,
            broadcast_buffers=False,
        ),
    )
    spawn(train_on_rank, (cfg, str(tmp_path)), nprocs=2)
    saved = [torch.load(tmp_path / f'rank{rank}.pt') for rank in (0, 1)]
    (
        (bank, pairs, masks, states),
        (other_bank, other_pairs, other_masks, other_states),
    ) = saved
    assert len(bank) == 12 and torch.equal(bank, other_bank)
    assert len(pairs) == 5 and torch.equal(pairs, other_pairs)
    assert (masks == other_masks) == (coin == 'shared')
    assert {True, False} == set(masks) == set(other_masks)
    assert len(states) == len(other_states) == 8
    assert not set(states) & set(other_states)
