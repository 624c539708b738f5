import runpy
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).parents[3] / 'tools/benchmarks/any_depth.py'


def run(monkeypatch, *arguments):
    monkeypatch.setattr(sys, 'argv', [str(TOOL), *arguments])
    runpy.run_path(str(TOOL), run_name='__main__')


def test_later_places_are_cheaper(monkeypatch, capsys):
    measure = runpy.run_path(str(TOOL))['measure']
    ratios = measure(num_references=10, batch_size=4, rounds=3)
    assert min(ratios['image']) > max(ratios['head'])
    run(monkeypatch, '--rounds', '2', '--batch-size', '1')
    assert 'layer3' in capsys.readouterr().out


def test_one_round_has_no_quartiles(monkeypatch, capsys):
    with pytest.raises(SystemExit):
        run(monkeypatch, '--rounds', '1')
    assert '--rounds has to be 2 or more' in capsys.readouterr().err
