import runpy
import sys
from pathlib import Path

import pytest
import torch
from helpers.reference_runs import (
    after_test,
    after_training,
    bank,
    hook,
    training_images,
)

from mmanchor.checkpoints.stripping import strip_checkpoint
from mmanchor.engine.launch import build_runner

TOOL = str(Path(__file__).parents[2] / 'tools/strip_references.py')
EMA = [
    dict(type='EMAHook', momentum=0.5),
    dict(
        type='KReferenceHook',
        num_references=3,
        protocol=dict(type='transduction', num_candidates=3, num_residuals=4),
    ),
]


def saved_images(path):
    """What may be images, wherever it is in a checkpoint."""

    def walk(tree):
        if isinstance(tree, torch.Tensor):
            yield tree
        elif isinstance(tree, (dict, list, tuple)):
            for branch in tree.values() if isinstance(tree, dict) else tree:
                yield from walk(branch)

    checkpoint = torch.load(path, weights_only=False)
    return [x for x in walk(checkpoint) if x.shape[-2:] == (16, 16)]


def test_stripping_removes_all_images_and_nothing_else(
    run, tmp_path, monkeypatch, capsys
):
    run(custom_hooks=EMA, epochs=1).train()
    path, out = tmp_path / 'work/epoch_1.pth', tmp_path / 'public.pth'
    assert len(saved_images(path)) == 4  # bank and residuals, twice
    monkeypatch.setattr(sys, 'argv', [TOOL, str(path), str(out)])
    runpy.run_path(TOOL, run_name='__main__')
    printed = capsys.readouterr().out
    assert printed.count('removed:') == 4
    assert 'reference_bank.residual_pairs (4, 2, 3, 16, 16)' in printed
    assert saved_images(out) == []
    whole, stripped = (torch.load(p, weights_only=False) for p in (path, out))
    assert set(stripped) == set(whole)
    assert all(
        torch.equal(value, whole['state_dict'][key])
        for key, value in stripped['state_dict'].items()
    )
    states, expected = (one['optimizer']['state'] for one in (stripped, whole))
    assert states.keys() == expected.keys()
    resumed = after_training(
        run, custom_hooks=EMA, resume=True, load_from=str(out), epochs=2
    )
    assert torch.equal(bank(resumed).images, training_images(3))


def test_a_stripped_checkpoint_is_tested_with_other_references(
    run, checkpoint, tmp_path
):
    out = str(tmp_path / 'public.pth')
    strip_checkpoint(checkpoint, out)
    with pytest.raises(ValueError, match='no reference bank. Add `KRef'):
        after_test(run, out, custom_hooks=[])
    _, metrics = after_test(run, out, **hook(num_references=3))
    _, expected = after_test(run, checkpoint, **hook(num_references=3))
    assert metrics == expected  # the same draw from the same training set


def test_a_plain_model_refuses_a_stripped_anchored_checkpoint(
    run, checkpoint, tmp_path
):
    out = str(tmp_path / 'public.pth')
    strip_checkpoint(checkpoint, out)
    cfg = run('').cfg
    cfg.load_from, cfg.experiment_name = out, 'plain'
    with pytest.raises(ValueError, match='of a plain model, since the config'):
        build_runner(cfg).test()


def test_checkpoints_that_can_not_be_stripped_are_refused(
    checkpoint, tmp_path, monkeypatch
):
    with pytest.raises(ValueError, match='another file than .*three.pth'):
        strip_checkpoint(checkpoint, checkpoint)
    with pytest.raises(FileNotFoundError, match='none at nowhere.pth'):
        strip_checkpoint('nowhere.pth', 'out.pth')
    with pytest.raises(ValueError, match='a file, but got https'):
        strip_checkpoint('https://example.org/a.pth', 'out.pth')
    bare = tmp_path / 'bare.pth'
    torch.save(dict(state_dict={}), bare)
    with pytest.raises(ValueError, match='bank in .*nothing to remove'):
        strip_checkpoint(str(bare), str(tmp_path / 'out.pth'))
    torch.save(dict(state_dict={}, code=pytest.raises), bare)
    with pytest.raises(ValueError, match='bare.pth asks for .*raises'):
        strip_checkpoint(str(bare), str(tmp_path / 'out.pth'))

    def full(checkpoint, path):
        Path(path).write_bytes(b'half')
        raise OSError('No space left on device')

    monkeypatch.setattr(torch, 'save', full)
    with pytest.raises(OSError, match='No space left'):
        strip_checkpoint(checkpoint, str(tmp_path / 'out.pth'))
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == ['bare.pth', 'three.pth']
