"""The script for a lent card, with toy sizes on a CPU."""

import os
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[3] / 'tools/benchmarks/gpu_check.sh'


def test_the_script_for_a_card_runs_with_toy_sizes(tmp_path):
    done = subprocess.run(
        ['bash', str(SCRIPT), str(tmp_path)],
        env={**os.environ, 'TOY': '1', 'PYTHON': sys.executable},
        capture_output=True,
        text=True,
        timeout=600,
    )
    parts = [
        line.partition(': exit ')[::2] for line in done.stdout.splitlines()
    ]
    logs = {path.stem: path.read_text() for path in tmp_path.glob('*.log')}
    assert [(name, ended.split()[0]) for name, ended in parts] == [
        ('tests', '0'),
        ('cost-resnet18_8xb16_cifar10', '0'),
        ('overhead', '0'),
        ('study-cells', '0'),
    ], logs
    assert '1 passed' in logs['tests']
    assert 'head and loss' in logs['overhead']
    assert list(tmp_path.glob('cost-*/benchmark.json'))
    assert done.returncode == 0
