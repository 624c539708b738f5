"""``tools/train.sbatch`` with programs that stand in for Slurm's."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from helpers.waiting import until

from mmanchor.engine import launch

TOOLS = Path(__file__).parents[2] / 'tools'
FAKES = {
    # tasks that go on until they are told to end
    'srun': 'echo srun "$@"; echo $$ > pid; [ -z "$TASKS" ] || exit $TASKS\n'
    'trap "exit 0" USR1; while :; do sleep 0.1; done',
    'scancel': 'echo scancel "$@"; kill -USR1 $(cat pid)',
    'scontrol': 'echo scontrol "$@"; echo "PreemptTime=${PREEMPTED:-None}"',
}


@pytest.fixture
def start(tmp_path, monkeypatch):
    """Start the template as Slurm would."""
    monkeypatch.chdir(tmp_path)
    for name, lines in FAKES.items():
        Path(name).write_text(f'#!/bin/sh\n{lines}\n')
        Path(name).chmod(0o755)
    monkeypatch.setenv('PATH', f'{tmp_path}:{os.environ["PATH"]}')

    def start(*flags, **variables):
        return subprocess.Popen(
            ['bash', TOOLS / 'train.sbatch', 'c.py', 'work', *flags],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={
                **os.environ,
                'SLURM_JOB_ID': '7',
                'TOOLS': str(TOOLS),
                'PYTHON': 'python',
                **variables,
            },
        )

    return start


def near_the_limit(process):
    """What the job prints, and its status, after Slurm's signal."""
    pid = Path('pid')
    until(lambda: pid.exists() and pid.read_text().endswith('\n'), 30)
    time.sleep(0.5)  # until the tasks are ready for it
    process.send_signal(signal.SIGUSR1)
    return process.communicate(timeout=30)[0], process.returncode


def test_near_the_time_limit_tasks_get_a_signal_and_the_job_is_requeued(start):
    printed, status = near_the_limit(start('--amp'))
    assert status == 0
    assert printed.splitlines() == [
        f'srun --kill-on-bad-exit=1 python -u {TOOLS}/train.py c.py '
        '--work-dir work --amp --launcher slurm',
        'scancel --signal=USR1 7',
        'Start 1 ended before it was done (status 0): requeued.',
        'scontrol requeue 7',
        'PreemptTime=None',
    ]


@pytest.mark.parametrize('tasks', [0, 3])
def test_a_run_that_ends_by_itself_is_not_requeued(start, tasks):
    process = start(TASKS=str(tasks))
    assert 'requeue' not in process.communicate(timeout=30)[0]
    assert process.returncode == tasks


def test_a_preempted_job_is_requeued(start):
    process = start(TASKS='143', PREEMPTED='2026-01-01T00:00:00')
    printed, _ = process.communicate(timeout=30)
    assert 'status 143' in printed and 'scontrol requeue 7' in printed
    assert process.returncode == 0


def test_a_work_dir_with_a_checkpoint_is_resumed(start):
    Path('work').mkdir()
    Path('work/last_checkpoint').touch()
    printed, _ = start(TASKS='0').communicate(timeout=30)
    assert '--work-dir work --resume --launcher slurm' in printed


def test_a_restarted_job_resumes_from_its_own_checkpoint(start):
    Path('work').mkdir()
    Path('work/last_checkpoint').touch()
    printed, _ = start('--resume', 'a.pth', TASKS='0').communicate(timeout=30)
    assert '--resume a.pth --resume --launcher slurm' in printed
    words = printed.split()
    parser = launch.train_parser()
    assert parser.parse_args(words[words.index('c.py') :]).resume == 'auto'


def test_a_task_of_an_array_stops_and_requeues_itself_alone(start):
    array = dict(SLURM_ARRAY_JOB_ID='5', SLURM_ARRAY_TASK_ID='2')
    printed, _ = near_the_limit(start(**array))
    assert 'scancel --signal=USR1 5_2' in printed
    assert 'scontrol requeue 5_2' in printed


def test_requeueing_ends_after_max_requeues(start):
    process = start(SLURM_RESTART_COUNT='2', MAX_REQUEUES='2')
    printed, status = near_the_limit(process)
    assert 'Started 3 times: not requeued. Raise MAX_REQUEUES?' in printed
    assert 'scontrol' not in printed and status == 1
