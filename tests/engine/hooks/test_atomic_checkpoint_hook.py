"""A failed write costs nothing that was there before."""

import errno
import os

import pytest
import torch
from helpers.exact_runs import differences
from mmengine.fileio import LocalBackend

from mmanchor.engine import AtomicCheckpointHook
from mmanchor.utils import files as whole_files

KEEP_ONE = {'default_hooks.checkpoint.max_keep_ckpts': 1}


def files(folder):
    return sorted(path.name for path in folder.glob('*.pth'))


def full_disk_from(monkeypatch, write):
    """The disk is full from the given write of a checkpoint on."""
    original, count = LocalBackend.put, []

    def put(self, obj, path):
        count.append(path)
        if len(count) < write:
            return original(self, obj, path)
        with open(path, 'wb') as file:
            file.write(obj[:1000])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(LocalBackend, 'put', put)


def test_a_full_disk_leaves_the_checkpoint_before(run, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        full_disk_from(patch, 3)
        with pytest.raises(
            OSError,
            match='work/epoch_3.pth could not be written: No space left '
            'on device. The one before, .*epoch_2.pth, is whole. Make '
            'room .*`--resume`',
        ):
            run(epochs=3, **KEEP_ONE).train()
    work = tmp_path / 'work'
    assert files(work) == ['epoch_2.pth']
    assert (work / 'last_checkpoint').read_text() == str(work / 'epoch_2.pth')
    assert not list(work.glob('.partial-*'))
    run(epochs=3, resume=True, **KEEP_ONE).train()
    assert files(work) == ['epoch_3.pth']
    os.rename(work / 'epoch_3.pth', tmp_path / 'resumed.pth')
    (work / 'last_checkpoint').unlink()
    run(epochs=3, **KEEP_ONE).train()
    assert not differences(work / 'epoch_3.pth', tmp_path / 'resumed.pth')


def test_a_full_disk_from_the_start(run, monkeypatch):
    full_disk_from(monkeypatch, 1)
    with pytest.raises(
        OSError, match='There is no checkpoint before it. Make room'
    ):
        run().train()


def test_a_full_disk_when_last_checkpoint_is_written(
    run, tmp_path, monkeypatch
):
    replace = os.replace

    def fail(source, target):
        if (
            str(target).endswith('last_checkpoint')
            and (tmp_path / 'work/epoch_2.pth').exists()
        ):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        replace(source, target)

    monkeypatch.setattr(os, 'replace', fail)
    with pytest.raises(
        OSError,
        match='epoch_2.pth could not be written: Input/output error.*'
        'The one before, .*epoch_1.pth, is whole',
    ):
        run(**KEEP_ONE).train()
    assert files(tmp_path / 'work') == ['epoch_1.pth', 'epoch_2.pth']


def test_the_disk_has_a_checkpoint_before_it_has_its_name(
    run, tmp_path, monkeypatch
):
    """In this order: checkpoint, last_checkpoint, removal of the one before"""
    events = []
    replace, remove, sync = os.replace, LocalBackend.remove, os.fsync

    def note_replace(source, target):
        replace(source, target)
        events.append(os.path.basename(target))

    def note_remove(self, path):
        remove(self, path)
        events.append(f'remove {os.path.basename(path)}')

    def note_sync(handle):
        sync(handle)
        events.append('sync')

    monkeypatch.setattr(whole_files.os, 'replace', note_replace)
    monkeypatch.setattr(whole_files.os, 'fsync', note_sync)
    monkeypatch.setattr(LocalBackend, 'remove', note_remove)
    run(epochs=2, **KEEP_ONE).train()
    assert events == [
        'sync',
        'epoch_1.pth',
        'sync',
        'sync',
        'last_checkpoint',
        'sync',
        'sync',
        'epoch_2.pth',
        'sync',
        'sync',
        'last_checkpoint',
        'sync',
        'remove epoch_1.pth',
    ]


def test_the_best_checkpoint_is_whole_too(run, tmp_path):
    run(
        epochs=2,
        validate_every=1,
        **{'default_hooks.checkpoint.save_best': 'accuracy/top1', **KEEP_ONE},
    ).train()
    work = tmp_path / 'work'
    best, last = files(work)
    assert best.startswith('best_accuracy_top1_epoch_')
    assert last == 'epoch_2.pth'
    saved = torch.load(work / last, weights_only=False)
    hub = saved['message_hub']['runtime_info']
    assert hub['best_ckpt'] == str(work / best)
    assert hub['keep_ckpt_ids'] == [2]


def test_temporary_files_of_a_killed_run_are_removed(run, tmp_path):
    left = tmp_path / 'work/.partial-abc'
    left.mkdir(parents=True)
    (left / 'epoch_1.pth').write_bytes(b'half')
    run(epochs=1).train()
    assert not left.exists()


def test_a_folder_for_checkpoints(run, tmp_path):
    out_dir = {'default_hooks.checkpoint.out_dir': str(tmp_path / 'other')}
    run(epochs=2, **out_dir).train()
    assert files(tmp_path / 'other/work') == ['epoch_1.pth', 'epoch_2.pth']
    named = (tmp_path / 'work/last_checkpoint').read_text()
    assert named == str(tmp_path / 'other/work/epoch_2.pth')


def test_saving_between_iterations(run, tmp_path):
    runner = run(epochs=1)
    runner.train()
    (hook,) = (h for h in runner.hooks if isinstance(h, AtomicCheckpointHook))
    path = hook.save_now(runner)
    assert path == str(tmp_path / 'work/interrupted.pth')
    assert (tmp_path / 'work/last_checkpoint').read_text() == path
