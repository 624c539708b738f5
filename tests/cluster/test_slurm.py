"""Runs on a real Slurm, which ``make test-cluster`` starts."""
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from mmanchor import CONFIG_DIR
from mmanchor.engine import launch

pytestmark = pytest.mark.cluster
TOOLS = Path(__file__).parents[2] / 'tools'
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
def environment(tmp_path, monkeypatch):
    assert 'SLURM_CONF' in os.environ, 'run `make test-cluster`'
    monkeypatch.chdir(tmp_path)
    for name, value in dict(
            GPUS='2',
            CPUS_PER_TASK='1',
            OMP_NUM_THREADS='1',
            PYTHON=sys.executable).items():
        monkeypatch.setenv(name, value)
    Path('config.py').write_text(CONFIG)


def command(*arguments):
    done = subprocess.run([str(argument) for argument in arguments],
                          stdout=subprocess.PIPE,
                          text=True,
                          timeout=300)
    assert done.returncode == 0, done.stdout
    return done.stdout


def wait_for(what, job, seconds=300):  # a start takes up to a minute
    end = time.monotonic() + seconds
    while not what():
        if time.monotonic() > end:
            log = Path(f'parts/slurm-{job}.log')
            lines = log.read_text().splitlines() if log.exists() else []
            pytest.fail('\n'.join(lines[-40:]) or 'no log')
        time.sleep(0.1)


def is_there(epoch):
    return Path(f'parts/epoch_{epoch}.pth').exists


def assert_same(one, other, path='checkpoint'):
    """The same to the last bit."""
    assert type(one) is type(other), path
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, other), path
    elif isinstance(one, dict):
        assert one.keys() == other.keys(), path
        for key in one:
            assert_same(one[key], other[key], f'{path}.{key}')
    elif isinstance(one, (list, tuple)):
        for index, pair in enumerate(zip(one, other, strict=True)):
            assert_same(*pair, f'{path}.{index}')
    else:
        assert one == other, path


def test_a_run_that_is_stopped_and_requeued_ends_as_one_that_is_not(
        environment, monkeypatch):
    last = f'epoch_{EPOCHS}.pth'
    train = TOOLS / 'slurm_train.sh', 'test', 'digits', 'config.py'
    command(*train, 'whole')

    monkeypatch.setenv('REQUEUE', '1')
    job = command(*train, 'parts').split()[-1]
    log = Path(f'parts/slurm-{job}.log')
    # as Slurm does near the time limit
    wait_for(is_there(2), job)
    command('scancel', '--batch', '--signal=USR1', job)
    wait_for(lambda: 'Start 1 ended before' in log.read_text(), job)
    # as it does when another job needs the node
    wait_for(is_there(5), job)
    command('srun', '--partition=urgent', '--exclusive', '--ntasks=1', 'true')
    wait_for(lambda: 'Start 2 ended before' in log.read_text(), job)
    wait_for(
        lambda: 'JobState=COMPLETED' in command('scontrol', 'show', 'job', job
                                                ), job)
    assert 'Start 3 ended' not in log.read_text()
    assert 'Restarts=2' in command('scontrol', 'show', 'job', job)
    resumed = re.findall(r'resumed epoch: (\d+)', log.read_text())
    assert len(resumed) == 2 and 2 <= int(resumed[0]) < int(resumed[1])

    checkpoints = [
        torch.load(f'{run}/{last}', weights_only=False)
        for run in ('whole', 'parts')
    ]
    for part in ('state_dict', 'optimizer', 'param_schedulers'):
        assert_same(*(checkpoint[part] for checkpoint in checkpoints), part)

    # and two tasks test as one process does
    command(TOOLS / 'slurm_test.sh', 'test', 'digits', 'config.py',
            f'parts/{last}', '--work-dir', 'tested', '--out', 'metrics.json',
            '--out-item', 'metrics')
    expected = launch.test(['config.py', f'whole/{last}'])
    assert json.loads(
        Path('metrics.json').read_text()) == pytest.approx(expected)


def task(rank):
    """The process id of a task that runs ``tools/train.py``."""
    for folder in Path('/proc').glob('[0-9]*'):
        try:
            words = (folder / 'cmdline').read_bytes().split(b'\0')
            told = (folder / 'environ').read_bytes().split(b'\0')
        except OSError:  # it has ended
            continue
        if (str(TOOLS / 'train.py').encode() in words
                and f'SLURM_PROCID={rank}'.encode() in told
                and words[0] == sys.executable.encode()):
            return int(folder.name)
    raise AssertionError(f'no task {rank}')


def test_a_task_that_dies_ends_the_job(environment):
    with open('log', 'wb') as log:
        process = subprocess.Popen([
            str(TOOLS / 'slurm_train.sh'), 'test', 'digits', 'config.py',
            'parts'
        ], stdout=log, stderr=subprocess.STDOUT)  # yapf: disable
    try:
        wait_for(is_there(1), 'none')
        os.kill(task(1), signal.SIGKILL)
        assert process.wait(60) != 0
    finally:
        process.kill()
    assert re.search('task 1: Killed', Path('log').read_text())
    assert 'RUNNING' not in command('squeue', '--noheader', '--format=%T')


def test_a_run_that_fails_is_not_requeued(environment, monkeypatch):
    monkeypatch.setenv('REQUEUE', '1')
    job = command(TOOLS / 'slurm_train.sh', 'test', 'digits', 'none.py',
                  'parts').split()[-1]
    wait_for(
        lambda: 'JobState=FAILED' in command('scontrol', 'show', 'job', job),
        job)
    assert 'none.py' in Path(f'parts/slurm-{job}.log').read_text()
