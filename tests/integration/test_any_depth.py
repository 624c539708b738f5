"""Runs, tools and files of models that anchor features."""

import os
import runpy
import sys
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from helpers.forked import spawn
from mmengine.runner import Runner
from mmpretrain import get_model

from mmanchor.checkpoints.stripping import strip_references
from mmanchor.export.fold import fold_checkpoint
from mmanchor.export.onnx import export_checkpoint, export_model

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope='module', params=['layer3', 'layer4', 'head'])
def trained_at(request, tmp_path_factory):
    """A config and a checkpoint of a short run, with three references."""
    from helpers.runs import config_maker

    folder = tmp_path_factory.mktemp(request.param)
    cfg = config_maker(folder)(
        custom_hooks=[dict(type='KReferenceHook', num_references=3)],
        **{
            'model.anchor_at': request.param,
            'train_cfg.max_epochs': 2,
            'train_cfg.val_interval': 2,
            'data_preprocessor.mask_prob': 0.5,
        },
    )
    Runner.from_cfg(cfg).train()
    cfg.experiment_name = None
    return cfg, str(folder / 'work/epoch_2.pth'), folder


def test_a_run_is_resumed_as_if_it_had_gone_on(trained_at):
    cfg, checkpoint, folder = trained_at
    again = cfg.copy()
    again.work_dir = str(folder / 'resumed')
    again.load_from, again.resume = str(folder / 'work/epoch_1.pth'), True
    again.experiment_name = f'{folder.name}_resumed'
    runner = Runner.from_cfg(again)
    runner.train()
    expected = torch.load(checkpoint, weights_only=False)['state_dict']
    torch.testing.assert_close(runner.model.state_dict(), expected)


@pytest.mark.parametrize('protocol', ['mean', 'adaptive', 'transduction'])
def test_a_checkpoint_is_tested(trained_at, protocol, tmp_path, monkeypatch):
    cfg, checkpoint, folder = trained_at
    cfg.dump(folder / 'config.py')
    arguments = [str(folder / 'config.py'), checkpoint]
    arguments += ['--protocol', protocol, '--work-dir', str(tmp_path)]
    if protocol == 'transduction':
        arguments += ['--num-candidates', '5']
    monkeypatch.setattr(
        sys,
        'argv',
        ['test.py', *arguments, '--out', str(tmp_path / 'out.json')]
        + ['--out-item', 'metrics'],
    )
    runpy.run_path(str(ROOT / 'tools/test.py'), run_name='__main__')
    assert 'accuracy/top1' in (tmp_path / 'out.json').read_text()


def test_a_checkpoint_is_folded_on_disk_and_exported(trained_at, tmp_path):
    cfg, checkpoint, _ = trained_at
    assert fold_checkpoint(cfg, checkpoint, tmp_path / 'out').difference < 1e-5
    plain = get_model(
        str(tmp_path / 'out/folded.py'), str(tmp_path / 'out/folded.pth')
    )
    model = get_model(cfg, checkpoint)
    images = torch.randn(2, *model.reference_bank.images.shape[1:])
    found = export_model(model, tmp_path / 'model.pt2', images)
    assert found < 1e-5
    model.reference_bank.use(1)
    with torch.no_grad():
        torch.testing.assert_close(
            plain(images), model(images), rtol=1e-4, atol=1e-5
        )


@pytest.mark.slow
def test_a_checkpoint_is_exported_to_onnx(trained_at, tmp_path):
    cfg, checkpoint, _ = trained_at
    onnxruntime = pytest.importorskip('onnxruntime')
    found, _ = export_checkpoint(cfg, checkpoint, tmp_path / 'model.onnx')
    assert found.difference < 1e-5
    model = get_model(cfg, checkpoint)
    images = torch.randn(3, *model.reference_bank.images.shape[1:])
    session = onnxruntime.InferenceSession(str(tmp_path / 'model.onnx'))
    (logits,) = session.run(None, {'images': images.numpy()})
    with torch.no_grad():
        expected = model(images)
        spread = model.reference_logits(images).std(0)
    torch.testing.assert_close(
        torch.from_numpy(logits), expected, rtol=1e-4, atol=1e-5
    )
    assert len(model.reference_bank) == 3 and spread.max() > 0


def ranks_train(rank, cfg, folder):
    torch.set_num_threads(1)
    os.environ['LOCAL_RANK'] = str(rank)
    dist.init_process_group(
        'gloo', f'file://{folder}/store', rank=rank, world_size=2
    )
    runner = Runner.from_cfg(cfg)
    runner.train()
    torch.save(runner.model.module.state_dict(), f'{folder}/rank{rank}.pt')
    dist.destroy_process_group()


@pytest.mark.slow
@pytest.mark.parametrize('at', ['layer3', 'layer4', 'head'])
def test_two_ranks_train_one_model(small_config, tmp_path, at):
    cfg = small_config(
        launcher='pytorch',
        custom_hooks=[dict(type='KReferenceHook', num_references=2)],
        model_wrapper_cfg=dict(
            type='MMDistributedDataParallel', device_ids=None
        ),
        **{
            'model.anchor_at': at,
            'data_preprocessor.mask_prob': 0.5,
            'train_cfg.max_epochs': 2,
            'train_cfg.val_interval': 2,
        },
    )
    torch.manual_seed(0)
    spawn(ranks_train, (cfg, str(tmp_path)), nprocs=2)
    first, second = (
        torch.load(tmp_path / f'rank{rank}.pt', weights_only=False)
        for rank in (0, 1)
    )
    assert first.keys() == second.keys()
    learnt = [name for name in first if 'running' not in name]
    assert 'reference_bank.anchor_at' in learnt
    assert all(torch.equal(first[name], second[name]) for name in learnt)
    name = next(iter(get_model(cfg, pretrained=False).widened_layers))
    reference, residual = first[f'{name}.weight'].chunk(2, 1)
    assert not torch.equal(reference, residual)


def test_masking_is_checked(trained_at, tmp_path, monkeypatch, capsys):
    cfg, checkpoint, folder = trained_at
    cfg.dump(folder / 'config.py')
    monkeypatch.setattr(
        sys,
        'argv',
        ['check_masking.py', str(folder / 'config.py'), checkpoint]
        + ['--images', '20', '--batch-size', '10'],
    )
    runpy.run_path(str(ROOT / 'tools/check_masking.py'), run_name='__main__')
    assert 'running' in capsys.readouterr().out


def test_a_checkpoint_without_its_bank_says_where_it_anchors(trained_at):
    cfg, checkpoint, _ = trained_at
    saved = torch.load(checkpoint, weights_only=False)
    strip_references(saved)
    assert 'reference_bank.anchor_at' in saved['state_dict']
    cfg = cfg.copy()
    at = cfg.model.anchor_at
    cfg.model.anchor_at = 'layer1'
    model = get_model(cfg, pretrained=False)
    with pytest.raises(ValueError, match=f"'layer1'.*anchors at '{at}'"):
        model.load_state_dict(saved['state_dict'], strict=False)


@pytest.mark.parametrize('at', ['layer3', 'head'])
def test_references_of_a_set_train(run, at):
    runner = run(
        custom_hooks=[dict(type='KReferenceHook', num_references=2)],
        **{
            'model.anchor_at': at,
            'data_preprocessor.references': dict(type='ReferenceSet', size=5),
            'train_cfg.max_epochs': 1,
            'train_cfg.val_interval': 1,
        },
    )
    runner.train()
    assert runner.model.reference_bank.images.dtype == torch.uint8
    assert (
        runner.model(
            torch.randn(2, *runner.model.reference_bank.images.shape[1:])
        )
        .isfinite()
        .all()
    )
