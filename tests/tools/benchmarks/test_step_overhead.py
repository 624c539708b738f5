"""The CPU time that anchoring adds to a training step."""

import json
import runpy
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
TOOL = ROOT / 'tools/benchmarks/step_overhead.py'


def test_both_checkouts_are_timed_in_every_case(monkeypatch, capsys):
    flags = ['--against', ROOT, '--batch-size', 4, '--size', 1]
    flags += ['--mask-by', 'sample', '--rounds', 2, '--steps', 1]
    monkeypatch.setattr(sys, 'argv', list(map(str, [TOOL, *flags])))
    runpy.run_path(str(TOOL), run_name='__main__')
    *table, line = capsys.readouterr().out.splitlines()
    rows = json.loads(line)
    assert len(table) == len(rows) == 4
    assert {(row['tree'], row['case']) for row in rows} == {
        (tree, case)
        for tree in ('this checkout', 'the other')
        for case in ('preprocessor', 'head and loss')
    }
    assert all(row['host'] > 0 for row in rows)
