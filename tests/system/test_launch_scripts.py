"""What the shell scripts run, with programs that only say how they are run."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

TOOLS = Path(__file__).parents[2] / 'tools'
SCRIPTS = sorted(
    path for path in TOOLS.iterdir() if path.suffix in ('.sh', '.sbatch')
)


@pytest.fixture
def ran(tmp_path, monkeypatch):
    """Run a script; the command it ends with, and its environment."""
    for name in ('srun', 'sbatch', 'python'):
        fake = tmp_path / name
        fake.write_text('#!/bin/sh\necho "$(basename "$0")" "$@"\n')
        fake.chmod(0o755)
    monkeypatch.setenv('PATH', f'{tmp_path}:{os.environ["PATH"]}')
    for name in (
        'GPUS',
        'GPUS_PER_NODE',
        'CPUS_PER_TASK',
        'SRUN_ARGS',
        'PY_ARGS',
        'REQUEUE',
        'NNODES',
        'NODE_RANK',
        'PORT',
        'MASTER_ADDR',
        'PYTHON',
    ):
        monkeypatch.delenv(name, raising=False)

    def run(script, *arguments, gres='(null)', **variables):
        sinfo = tmp_path / 'sinfo'
        sinfo.write_text(f'#!/bin/sh\necho "{gres}"\n')
        sinfo.chmod(0o755)
        done = subprocess.run(
            [TOOLS / script, *arguments],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            env={**os.environ, **variables},
        )
        return done.stdout.replace(f'{TOOLS}/', '').split()

    return run


def has(command, *expected):
    return f' {" ".join(expected)} ' in f' {" ".join(command)} '


@pytest.mark.parametrize('script', SCRIPTS, ids=lambda path: path.name)
def test_scripts_are_sound(script):
    subprocess.run(['bash', '-n', script], check=True)
    if shutil.which('shellcheck'):
        subprocess.run(['shellcheck', '-x', script], check=True)


@pytest.mark.parametrize(
    'script',
    [
        'dist_train.sh',
        'dist_test.sh',
        'slurm_train.sh',
        'slurm_test.sh',
        'train.sbatch',
    ],
)
def test_too_few_arguments_show_the_usage(script):
    done = subprocess.run(
        [TOOLS / script, 'config.py'], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert f'tools/{script} ' in done.stderr and 'CONFIG' in done.stderr
    assert os.access(TOOLS / script, os.X_OK)


def test_one_node_takes_a_free_port(ran):
    command = ran('dist_train.sh', 'c.py', '4', '--amp', '--resume')
    assert command == [
        'python',
        '-m',
        'torch.distributed.run',
        '--standalone',
        '--local-addr',
        '127.0.0.1',
        '--nproc-per-node',
        '4',
        'train.py',
        'c.py',
        '--amp',
        '--resume',
        '--launcher',
        'pytorch',
    ]


@pytest.mark.parametrize(
    'variables,meet',
    [
        (
            dict(PORT='29501'),
            '--nnodes 1 --node-rank 0 --master-addr 127.0.0.1 '
            '--master-port 29501',
        ),
        (
            dict(NNODES='2', NODE_RANK='1', MASTER_ADDR='n1'),
            '--nnodes 2 --node-rank 1 --master-addr n1 --master-port 29500',
        ),
    ],
)
def test_the_address_of_several_nodes(ran, variables, meet):
    command = ran('dist_test.sh', 'c.py', 'e.pth', '2', '--tta', **variables)
    assert has(command, *meet.split())
    assert has(command, 'test.py c.py e.pth --tta --launcher pytorch')


def test_slurm_tasks_have_a_gpu_each(ran):
    command = ran(
        'slurm_train.sh',
        'part',
        'job',
        'c.py',
        'work',
        '--amp',
        gres='gpu:a100:8(S:0-1)',
        GPUS='16',
        SRUN_ARGS='--time 60 --qos high',
    )
    assert has(
        command,
        'srun --partition part --job-name job --ntasks 16 '
        '--ntasks-per-node 8 --cpus-per-task 5 --gres gpu:8 --time 60 '
        '--qos high --kill-on-bad-exit=1 python -u train.py c.py '
        '--work-dir work --amp --launcher slurm',
    )


def test_no_gpus_are_requested_of_nodes_without_any(ran):
    command = ran(
        'slurm_test.sh',
        'part',
        'job',
        'c.py',
        'e.pth',
        GPUS='2',
        CPUS_PER_TASK='1',
        PY_ARGS='--tta --amp',
    )
    assert has(
        command,
        'srun --partition part --job-name job --ntasks 2 '
        '--ntasks-per-node 2 --cpus-per-task 1 --kill-on-bad-exit=1 '
        'python -u test.py c.py e.pth --tta --amp --launcher slurm',
    )


def test_a_run_that_requeues_is_submitted(ran, tmp_path):
    work = str(tmp_path / 'work')
    command = ran(
        'slurm_train.sh',
        'part',
        'job',
        'c.py',
        work,
        '--amp',
        GPUS='8',
        GPUS_PER_NODE='4',
        REQUEUE='1',
    )
    assert has(
        command,
        f'sbatch --output {work}/slurm-%j.log --partition '
        'part --job-name job --ntasks 8 --ntasks-per-node 4 '
        f'--cpus-per-task 5 train.sbatch c.py {work} --amp',
    )
    assert Path(work).is_dir()


def test_a_job_outside_the_clone_is_refused(tmp_path):
    done = subprocess.run(
        ['bash', TOOLS / 'train.sbatch', 'c.py', 'work'],
        capture_output=True,
        text=True,
        env={
            **os.environ,
            'SLURM_JOB_ID': '1',
            'SLURM_SUBMIT_DIR': str(tmp_path),
        },
    )
    assert done.returncode == 2
    assert (
        f'Expected tools/train.py in {tmp_path}, where sbatch ran, but it '
        'is not there. Run sbatch in the clone' in done.stderr
    )
