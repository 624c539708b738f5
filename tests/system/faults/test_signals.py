"""Signals: a checkpoint, a line in the log, status 0, and nothing lost."""

import os
import re
import signal
import time

import pytest
from helpers.exact_runs import differences

pytestmark = pytest.mark.slow

SLOW = {
    'train_cfg.max_epochs': 30,
    'train_cfg.val_interval': 30,
    'param_scheduler.1.end': 30,
    'default_hooks.logger.interval': 1,
    'default_hooks.checkpoint.interval': 10,
}
WORKERS = {
    'train_dataloader.num_workers': 2,
    'train_dataloader.persistent_workers': True,
    'val_dataloader.num_workers': 1,
}


def final(folder):
    return folder / 'epoch_30.pth'


@pytest.mark.parametrize(
    'number,options',
    [
        (signal.SIGTERM, {}),
        (signal.SIGUSR1, WORKERS),
    ],
    ids=['SIGTERM', 'SIGUSR1 with workers'],
)
def test_one_process_saves_and_exits_on_a_signal(
    train_process, config_file, tmp_path, number, options
):
    assert train_process(config_file('whole', **SLOW)).wait() == 0
    config = config_file('stopped', **SLOW, **options)
    process = train_process(config)
    process.wait_for('[3][2/4]')  # the logger of the third epoch
    process.kill(number)  # its workers, too
    assert process.wait() == 0, process.said
    path = tmp_path / 'stopped/interrupted.pth'
    assert re.search(
        rf'Stopped by {number.name} after iteration \d+: saved {path}. Resume '
        rf'with `python .*train.py {config} --resume`.',
        process.said,
    )
    assert 'Traceback' not in process.said, process.said
    process = train_process(config, '--resume')
    assert process.wait() == 0, process.said
    assert 'Resuming in the middle of epoch' in process.said
    assert not differences(
        final(tmp_path / 'whole'), final(tmp_path / 'stopped')
    )


def test_ranks_with_the_same_state_agree(train_process, config_file, tmp_path):
    """One of them is told, and both leave after the same iteration."""
    whole = train_process(config_file('whole', **SLOW), ranks=2)
    assert whole.wait() == 0, whole.said
    config = config_file('stopped', **SLOW)
    process = train_process(config, ranks=2)
    process.wait_for('[3][1/2]')
    os.kill(process.children[-1], signal.SIGUSR1)
    assert process.wait() == 0, process.said
    assert process.said.count('Stopped by SIGUSR1 after iteration') == 1
    process = train_process(config, '--resume', ranks=2)
    assert process.wait() == 0, process.said
    assert not differences(
        final(tmp_path / 'whole'), final(tmp_path / 'stopped')
    )


@pytest.mark.parametrize('rank', [0, 1])
def test_a_rank_that_dies_ends_the_job(train_process, config_file, rank):
    # of new interpreters, as a user's, torchrun names all that failed
    process = train_process(
        config_file('dies', **SLOW), ranks=2, fork_ranks=False
    )
    process.wait_for('[2][1/2]')
    began = time.monotonic()
    os.kill(sorted(process.children)[rank], signal.SIGKILL)
    assert process.wait(60) != 0
    assert time.monotonic() - began < 60
    assert re.search(rf'rank\s*: {rank} ', process.said), process.said
    assert 'Signal 9 (SIGKILL)' in process.said
