"""Two processes that train together, on CPU."""

import os

import pytest
import torch
import torch.distributed as dist
from helpers.forked import spawn
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmpretrain.registry import DATASETS, HOOKS, MODELS

from mmanchor.datasets import Digits
from mmanchor.engine import KReferenceHook
from mmanchor.models import AnchoringDataPreprocessor, build_protocol


@MODELS.register_module()
class KeepingPreprocessor(AnchoringDataPreprocessor):
    """Keeps the masks, and the state that references are drawn from."""

    def _draw_and_combine(self, images, samples):
        anchored = super()._draw_and_combine(images, samples)
        masked = all(sample.reference_masked for sample in samples)
        self.__dict__.setdefault('masks', []).append(masked)
        return anchored

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


@DATASETS.register_module()
class CountedDigits(Digits):
    """Counts the images that this process reads."""

    reads = 0

    def prepare_data(self, index):
        CountedDigits.reads += 1
        return super().prepare_data(index)


@HOOKS.register_module()
class ReadsBeforeTraining(Hook):
    """Writes down how many images are read before the first batch is."""

    priority = 'LOWEST'

    def before_train(self, runner):
        model = runner.model.module
        torch.save(
            (
                CountedDigits.reads,
                model.reference_bank.images,
                model.reference_bank.residual_pairs,
                model.data_preprocessor.reference_set.images,
            ),
            f'{runner.work_dir}/rank{torch.distributed.get_rank()}.pt',
        )


def draw_on_rank(rank, cfg, folder, match):
    torch.set_num_threads(1)
    os.environ['LOCAL_RANK'] = str(rank)
    dist.init_process_group(
        'gloo', f'file://{folder}/store', rank=rank, world_size=2
    )
    runner = Runner.from_cfg(cfg)
    if match is None:
        runner.train()
    else:
        with pytest.raises(ValueError, match=match):
            runner.train()
    dist.destroy_process_group()


def drawing(small_config):
    return small_config(
        launcher='pytorch',
        data_preprocessor=dict(references=dict(type='ReferenceSet', size=20)),
        custom_hooks=[
            dict(
                type='KReferenceHook',
                protocol=dict(
                    type='transduction', num_candidates=12, num_residuals=5
                ),
            ),
            dict(type='ReadsBeforeTraining'),
        ],
        model_wrapper_cfg=dict(
            type='MMDistributedDataParallel', device_ids=None
        ),
        **{
            'train_dataloader.dataset.type': 'CountedDigits',
            'train_cfg.max_epochs': 1,
        },
    )


def test_only_the_first_rank_reads_references(small_config, tmp_path):
    cfg = drawing(small_config)
    spawn(draw_on_rank, (cfg, str(tmp_path), None), nprocs=2)
    (reads, *images), (other_reads, *others) = (
        torch.load(f'{cfg.work_dir}/rank{rank}.pt') for rank in (0, 1)
    )
    assert (reads, other_reads) == (20 + 12 + 2 * 5, 0)
    assert [len(of_kind) for of_kind in images] == [12, 5, 20]
    for image, other in zip(images, others, strict=True):
        assert torch.equal(image, other)


def test_all_ranks_raise_what_the_first_could_not_read(small_config, tmp_path):
    cfg = drawing(small_config)
    cfg.val_dataloader.dataset.pipeline = [dict(type='LoadImageFromFile')]
    spawn(
        draw_on_rank,
        (cfg, str(tmp_path), 'image .* CountedDigits could not be read as'),
        nprocs=2,
    )
