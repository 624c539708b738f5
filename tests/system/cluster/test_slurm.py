"""Runs on a real Slurm, which ``make test-cluster`` starts."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.exact_runs import differences
from helpers.slurm_jobs import TOOLS, command, has_ended, wait_for

from mmanchor import CONFIG_DIR
from mmanchor.engine import launch

pytestmark = pytest.mark.cluster
EPOCHS = 12
CONFIG = f"""
_base_ = '{CONFIG_DIR}/digits/resnet18-w16_anchored-masked_digits.py'
model = dict(
    backbone=dict(stem_channels=8, base_channels=8),
    head=dict(in_channels=64))
train_dataloader = dict(batch_size=16, dataset=dict(indices=256))
val_dataloader = dict(dataset=dict(indices=100))
test_dataloader = val_dataloader
train_cfg = dict(max_epochs={EPOCHS}, val_interval={EPOCHS})
default_hooks = dict(
    logger=dict(interval=4), checkpoint=dict(interval=1, max_keep_ckpts=99))
"""


@pytest.fixture
def config(slurm):
    """Of a run of seconds, in the current folder."""
    Path('config.py').write_text(CONFIG)


def is_there(epoch):
    return Path(f'parts/epoch_{epoch}.pth').exists


def test_a_run_that_is_stopped_and_requeued_ends_as_one_that_is_not(
    config, monkeypatch
):
    last = f'epoch_{EPOCHS}.pth'
    train = TOOLS / 'slurm_train.sh', 'test', 'digits', 'config.py'
    command(*train, 'whole')

    monkeypatch.setenv('REQUEUE', '1')
    job = command(*train, 'parts').split()[-1]
    log = Path(f'parts/slurm-{job}.log')
    # as Slurm does near the time limit
    wait_for(is_there(2), log)
    command('scancel', '--batch', '--signal=USR1', job)
    wait_for(lambda: 'Start 1 ended before' in log.read_text(), log)
    # as it does when another job needs the node
    wait_for(is_there(5), log)
    command('srun', '--partition=urgent', '--exclusive', '--ntasks=1', 'true')
    wait_for(lambda: 'Start 2 ended before' in log.read_text(), log)
    wait_for(lambda: has_ended(job), log)
    assert 'Start 3 ended' not in log.read_text()
    assert 'Restarts=2' in command('scontrol', 'show', 'job', job)
    resumed = re.findall(r'resumed epoch: (\d+)', log.read_text())
    assert len(resumed) == 2 and 2 <= int(resumed[0]) < int(resumed[1])

    assert not differences(f'whole/{last}', f'parts/{last}')

    # and two tasks test as one process does
    command(
        TOOLS / 'slurm_test.sh',
        'test',
        'digits',
        'config.py',
        f'parts/{last}',
        '--work-dir',
        'tested',
        '--out',
        'metrics.json',
        '--out-item',
        'metrics',
    )
    expected = launch.test(['config.py', f'whole/{last}'])
    assert json.loads(Path('metrics.json').read_text()) == pytest.approx(
        expected
    )


def task(rank):
    """The process id of a task that runs ``tools/train.py``."""
    for folder in Path('/proc').glob('[0-9]*'):
        try:
            words = (folder / 'cmdline').read_bytes().split(b'\0')
            told = (folder / 'environ').read_bytes().split(b'\0')
        except OSError:  # it has ended
            continue
        if (
            str(TOOLS / 'train.py').encode() in words
            and f'SLURM_PROCID={rank}'.encode() in told
            and words[0] == sys.executable.encode()
        ):
            return int(folder.name)
    raise AssertionError(f'no task {rank}')


def test_a_task_that_dies_ends_the_job(config):
    with open('log', 'wb') as log:
        process = subprocess.Popen(
            [
                str(TOOLS / 'slurm_train.sh'),
                'test',
                'digits',
                'config.py',
                'parts',
            ],
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_for(is_there(1), 'log')
        os.kill(task(1), signal.SIGKILL)
        assert process.wait(60) != 0
    finally:
        process.kill()
    assert re.search('task 1: Killed', Path('log').read_text())
    assert 'RUNNING' not in command('squeue', '--noheader', '--format=%T')


def test_a_run_that_fails_is_not_requeued(config, monkeypatch):
    monkeypatch.setenv('REQUEUE', '1')
    job = command(
        TOOLS / 'slurm_train.sh', 'test', 'digits', 'none.py', 'parts'
    ).split()[-1]
    log = Path(f'parts/slurm-{job}.log')
    wait_for(lambda: has_ended(job, 'FAILED'), log)
    assert 'none.py' in log.read_text()
