"""The script for a lent card, with toy sizes on a CPU."""

import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[3] / 'tools/benchmarks/gpu_check.sh'


def run_script(folder, **environment):
    """Its exit status, and by part: exit status and limit in seconds."""
    done = subprocess.run(
        ['bash', str(SCRIPT), str(folder)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=600,
    )
    parts = {}
    for line in done.stdout.splitlines():
        name, ended = line.split(': exit ')
        words = ended.split()
        parts[name] = int(words[0]), int(words[-2])
    return done.returncode, parts


@pytest.mark.slow
def test_the_script_for_a_card_runs_with_toy_sizes(tmp_path):
    code, parts = run_script(tmp_path, TOY='1', PYTHON=sys.executable)
    with tarfile.open(tmp_path / 'results.tar.gz') as archive:
        archive.extractall(tmp_path / 'parts', filter='data')
    results = tmp_path / 'parts'
    logs = {path.stem: path.read_text() for path in results.glob('*.log')}
    assert {name: status for name, (status, _) in parts.items()} == {
        'tests': 0,
        'cost-resnet18_8xb16_cifar10': 0,
        'overhead': 0,
        'study-cells': 0,
    }, logs
    assert '1 passed' in logs['tests']
    assert 'head and loss' in logs['overhead']
    assert list(results.glob('cost-*/benchmark.json'))
    assert code == 0


def test_the_limits_of_all_parts_leave_a_minute_of_twelve(tmp_path):
    code, parts = run_script(tmp_path, TOY='0', PYTHON='true')
    assert code == 0
    assert [name.partition('-')[0] for name in parts] == [
        'tests',
        *['cost'] * 3,
        'overhead',
        'study',
    ]
    assert sum(limit for _, limit in parts.values()) <= 660


def test_a_process_of_the_study_that_fails_is_in_the_exit_status(tmp_path):
    python = tmp_path / 'python'
    python.write_text(
        '#!/bin/sh\n'
        'case "$*" in *--report) ;; tools/study.py*) exit 1 ;; esac\n'
    )
    python.chmod(0o755)
    code, parts = run_script(tmp_path / 'out', TOY='0', PYTHON=str(python))
    assert code == 1
    assert {status for status, _ in parts.values()} == {0}


def test_a_part_that_fails_is_in_the_exit_status_and_stops_no_other(tmp_path):
    code, parts = run_script(tmp_path, TOY='1', PYTHON='false')
    assert code == 1
    assert [status for status, _ in parts.values()] == [1] * 4
    assert 'overhead: exit 1' in (tmp_path / 'summary.txt').read_text()
