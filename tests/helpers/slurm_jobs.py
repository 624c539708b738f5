"""Jobs on the Slurm that ``make test-cluster`` starts: for conftest files."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.waiting import until

TOOLS = Path(__file__).parents[2] / 'tools'


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """An empty folder, and what tasks need."""
    assert 'SLURM_CONF' in os.environ, 'run `make test-cluster`'
    monkeypatch.chdir(tmp_path)
    for name, value in dict(
        GPUS='2', CPUS_PER_TASK='1', OMP_NUM_THREADS='1', PYTHON=sys.executable
    ).items():
        monkeypatch.setenv(name, value)


def command(*arguments) -> str:
    """What it prints."""
    done = subprocess.run(
        [str(argument) for argument in arguments],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


def wait_for(what, log, seconds=300):  # a start takes up to a minute
    """Until it is true; else, show the log."""

    def told():
        log_file = Path(log)
        return log_file.read_text()[-4000:] if log_file.exists() else 'no log'

    until(what, seconds, told)


def has_ended(job, state='COMPLETED') -> bool:
    """Whether a job is in a state."""
    return f'JobState={state}' in command('scontrol', 'show', 'job', job)
