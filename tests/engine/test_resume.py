"""Damaged checkpoints are refused by name, and the one before is offered."""

import os
import shutil
import signal

import pytest
from helpers.runs import config_maker
from mmengine.hooks import CheckpointHook
from mmengine.registry import init_default_scope
from mmengine.runner import Runner

from mmanchor.engine import AtomicCheckpointHook, StopOnSignalHook, launch
from mmanchor.engine import resume as resuming
from mmanchor.utils.locks import only_run


@pytest.fixture(scope='module')
def trained_once(tmp_path_factory):
    """The work dir of two epochs, and its config."""
    folder = tmp_path_factory.mktemp('resume')
    cfg = config_maker(folder)(epochs=2, validate_every=2)
    cfg.dump(folder / 'small.py')
    init_default_scope('mmpretrain')
    launch.train([str(folder / 'small.py')])
    return folder


@pytest.fixture
def trained(trained_once, tmp_path):
    """A copy of the work dir, whose ``last_checkpoint`` names the copy's."""
    work = shutil.copytree(trained_once / 'work', tmp_path / 'work')
    (work / 'last_checkpoint').write_text(str(work / 'epoch_2.pth'))
    return work


@pytest.fixture
def config_file(trained_once, tmp_path):
    """The config, with a work dir in the folder of a test."""
    text = (trained_once / 'small.py').read_text()
    path = tmp_path / 'small.py'
    path.write_text(text.replace(str(trained_once), str(tmp_path)))
    return str(path)


def cut(path):
    path.write_bytes(path.read_bytes()[:-100])


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    'spoil,what',
    [
        (
            cut,
            r'whole checkpoint, but .*epoch_2.pth \(\d+ bytes\) was cut short',
        ),
        (
            flip,
            r'whole checkpoint, but .*epoch_2.pth \(\d+ bytes\) is damaged: ',
        ),
        (os.remove, 'checkpoint file, but there is none at .*epoch_2.pth'),
    ],
    ids=['cut', 'bit', 'gone'],
)
def test_the_previous_checkpoint_is_offered(config_file, trained, spoil, what):
    spoil(trained / 'epoch_2.pth')
    with pytest.raises(
        (ValueError, FileNotFoundError),
        match=f'{what}.* The checkpoint before it is whole: resume from that with '
        f'`python tools/train.py {config_file} --resume '
        f'{trained}/epoch_1.pth`.',
    ):
        launch.train([config_file, '--resume'])
    launch.train([config_file, '--resume', str(trained / 'epoch_1.pth')])
    assert (trained / 'epoch_2.pth').exists()


def test_no_earlier_checkpoint_is_offered_if_all_are_damaged(
    config_file, trained
):
    for path in trained.glob('epoch_*.pth'):
        cut(path)
    with pytest.raises(
        ValueError, match='No other.*start again, without `--r'
    ):
        launch.train([config_file, '--resume'])


def started_from(monkeypatch, argv):
    """Return the checkpoint that a command resumes from."""
    found = []

    def keep(cfg):
        found.append(cfg.load_from)
        raise RuntimeError('enough')

    with monkeypatch.context() as patch:
        patch.setattr(launch, 'build_runner', keep)
        with pytest.raises(RuntimeError, match='enough'):
            launch.train(argv)
    return found[0]


@pytest.mark.parametrize(
    'content', [b'', b'\xff\xfe\x00', None], ids=['empty', 'binary', 'gone']
)
def test_a_work_dir_whose_last_checkpoint_is_not_named(
    config_file, trained, content, monkeypatch
):
    """The newest is resumed, whatever times a copy gave the files."""
    (trained / 'last_checkpoint').unlink()
    if content is not None:
        (trained / 'last_checkpoint').write_bytes(content)
    os.utime(trained / 'epoch_2.pth', (1e9, 1e9))
    flags = [config_file, '--resume']
    assert started_from(monkeypatch, flags) == str(trained / 'epoch_2.pth')
    cut(trained / 'epoch_2.pth')
    assert started_from(monkeypatch, flags) == str(trained / 'epoch_1.pth')
    cut(trained / 'epoch_1.pth')
    with pytest.raises(
        ValueError,
        match='whole checkpoint.*epoch_1.pth, epoch_2.pth are damaged',
    ):
        launch.train(flags)
    for name in ('epoch_1.pth', 'epoch_2.pth'):
        (trained / name).unlink()
    assert started_from(monkeypatch, flags) is None  # a first start


@pytest.mark.parametrize('change', [shutil.move, shutil.copytree])
def test_a_moved_or_copied_work_dir_resumes_from_its_own_checkpoint(
    config_file, trained, change, monkeypatch, tmp_path
):
    change(str(trained), str(tmp_path / 'other'))
    flags = [config_file, '--resume', '--work-dir', str(tmp_path / 'other')]
    assert started_from(monkeypatch, flags) == str(
        tmp_path / 'other/epoch_2.pth'
    )
    (tmp_path / 'other/epoch_2.pth').unlink()
    (trained / 'epoch_2.pth').unlink(missing_ok=True)
    with pytest.raises(
        FileNotFoundError,
        match='none at .*other/epoch_2.pth.*--resume .*other/epoch_1.pth',
    ):
        launch.train(flags)


def test_a_second_training_in_a_work_dir_is_refused(config_file, trained):
    with (
        only_run(trained),
        pytest.raises(
            ValueError,
            match=f'no other run to write to {trained}, but got one: process '
            f'{os.getpid()} on .*name another with --work-dir',
        ),
    ):
        launch.train([config_file])
    launch.train([config_file, '--resume'])


def test_a_file_system_without_locks_is_warned_of(
    config_file, trained, monkeypatch
):

    def fail(*args):
        raise OSError(38, 'Function not implemented')

    monkeypatch.setattr('fcntl.flock', fail)
    with pytest.warns(UserWarning, match=r'file system with locks \(flock\)'):
        launch.train([config_file, '--resume'])


def test_divergence_ends_training_before_it_is_saved(config_file, trained):
    before = (trained / 'epoch_2.pth').read_bytes()
    options = [
        'optim_wrapper.optimizer.lr=1e30',
        'param_scheduler=[]',
        'default_hooks.checkpoint.max_keep_ckpts=1',
    ]
    with pytest.raises(
        ValueError,
        match='Expected finite weights to save after iteration 4, but '
        'got NaN or infinity in .*: training diverged. Nothing was saved; '
        'the checkpoint before, .*epoch_2.pth, is whole. .*`--resume`',
    ):
        launch.train([config_file, '--cfg-options', *options])
    assert sorted(path.name for path in trained.glob('*.pth')) == [
        'epoch_1.pth',
        'epoch_2.pth',
    ]
    assert (trained / 'epoch_2.pth').read_bytes() == before


def test_ranks_whose_torchrun_was_killed_stop(
    small_config, tmp_path, monkeypatch
):
    monkeypatch.setenv('TORCHELASTIC_RUN_ID', 'none')
    runner = Runner.from_cfg(small_config(log_level='INFO'))
    with resuming.fault_tolerance(runner, 'command'):
        monkeypatch.setattr(os, 'getppid', lambda: 1)
        with pytest.raises(SystemExit) as stopped:
            runner.train()
    assert stopped.value.code == 0
    (log,) = (tmp_path / 'work').glob('*/*.log')
    assert (
        'Stopped because torchrun, which started this process, was killed'
        in log.read_text()
    )
    assert (tmp_path / 'work/interrupted.pth').exists()


def test_the_newest_is_the_one_written_last(trained):
    shutil.copy(trained / 'epoch_2.pth', trained / 'interrupted.pth')
    shutil.copy(trained / 'epoch_1.pth', trained / 'best_epoch_1.pth')
    os.utime(trained / 'best_epoch_1.pth', (2e9, 2e9))
    os.utime(trained / 'interrupted.pth', (1.9e9, 1.9e9))
    assert resuming.newest_complete_checkpoint(str(trained)).endswith(
        'interrupted.pth'
    )
    assert resuming.newest_complete_checkpoint('no/folder') is None


@pytest.mark.parametrize(
    'argv',
    [
        ['c.py', '--amp', '--resume'],
        ['c.py', '--resume', 'old.pth', '--amp'],
        ['c.py', '--amp', '--resume=old.pth'],
        ['c.py', '--resume', '--amp'],
    ],
)
def test_the_command_that_resumes_a_run(argv, monkeypatch):
    assert resuming.resume_command(argv) == (
        'python tools/train.py c.py --amp --resume'
    )
    monkeypatch.setattr('sys.argv', ['my/train.py', *argv])
    assert resuming.resume_command(None, 'a b.pth') == (
        "python my/train.py c.py --amp --resume 'a b.pth'"
    )
    monkeypatch.setattr('sys.argv', ['mmanchor train', *argv])
    assert resuming.resume_command() == 'mmanchor train c.py --amp --resume'


class Own(CheckpointHook):
    """A user's."""


@pytest.mark.parametrize(
    'kind,expected,stops',
    [
        (CheckpointHook, AtomicCheckpointHook, True),
        (AtomicCheckpointHook, AtomicCheckpointHook, True),
        (Own, Own, False),
    ],
)
def test_any_config_s_own_hook_becomes_atomic(
    small_config, kind, expected, stops
):
    cfg = small_config()
    cfg.default_hooks.checkpoint.type = kind
    runner = Runner.from_cfg(cfg)
    with resuming.fault_tolerance(runner, 'command'):
        pass
    with resuming.fault_tolerance(runner, 'command'):
        pass
    assert sum(type(h) is expected for h in runner.hooks) == 1
    assert sum(type(h) is StopOnSignalHook for h in runner.hooks) == stops
    assert runner.cfg.default_hooks.checkpoint.type is kind


def test_signal_handlers_are_restored_after_an_error(
    small_config, monkeypatch
):
    before = signal.getsignal(signal.SIGTERM)
    runner = Runner.from_cfg(small_config())
    seen = []

    def fail(*args, **kwargs):
        seen.append(signal.getsignal(signal.SIGTERM))
        raise RuntimeError('as it may')

    monkeypatch.setattr(runner.model, 'train_step', fail)
    with pytest.raises(RuntimeError, match='as it may'):
        with resuming.fault_tolerance(runner, 'command'):
            runner.train()
    assert seen[0] != before
    assert signal.getsignal(signal.SIGTERM) == before


def test_stopping_needs_a_hook_to_save_with(small_config):
    cfg = small_config(
        custom_hooks=[
            dict(type='KReferenceHook'),
            dict(type='StopOnSignalHook'),
        ]
    )
    cfg.default_hooks.checkpoint.type = 'CheckpointHook'
    with pytest.raises(
        ValueError, match='AtomicCheckpointHook for Stop.*there is none'
    ):
        Runner.from_cfg(cfg).train()


@pytest.mark.parametrize('interval', [0, 1.5])
def test_a_vote_interval_out_of_range_is_refused(interval):
    with pytest.raises(
        ValueError, match=f'positive integer, but got {interval}'
    ):
        StopOnSignalHook(vote_interval=interval)
