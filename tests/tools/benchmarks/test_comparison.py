"""The benchmark of standard and anchored models."""

import json
import math
import runpy
import sys
import time
from pathlib import Path

import comparison
import pytest
import torch
from benchmark_cases import Case
from benchmark_settings import CASES
from comparison import run_benchmark
from helpers.few_rounds import FEW, few_rounds

from mmanchor.utils.provenance import shareable_path

TOOL = Path(__file__).parents[3] / 'tools/benchmark.py'


@pytest.fixture
def done(plain_config, tmp_path, monkeypatch, capsys):
    """A run of the tool with every case, and what it printed."""
    path = str(plain_config())
    flags = [f'--{k.replace("_", "-")}={v}' for k, v in FEW.items()]
    monkeypatch.setattr(
        sys, 'argv', ['benchmark.py', path, *flags, '--out', f'{tmp_path}/out']
    )
    runpy.run_path(str(TOOL), run_name='__main__')
    results = json.loads((tmp_path / 'out/benchmark.json').read_text())
    return results, capsys.readouterr().out, tmp_path / 'out'


def test_a_run_writes_and_shows_every_case(done):
    results, printed, out = done
    assert results['settings'] == {
        **few_rounds().__dict__,
        'cases': ['train', 'test'],
    }
    assert results['versions']['torch'] == torch.__version__
    assert results['command'].startswith(f'python {shareable_path(TOOL)} ')
    for key in ('device', 'commit', 'clock', 'memory', 'floor', 'tf32'):
        assert key in results
    (found,) = results['configs']
    assert found['image_shape'] == [3, 16, 16]
    names = [f'{g}/{c}' for g, cases in found['groups'].items() for c in cases]
    assert names == CASES
    cases = [c for group in found['groups'].values() for c in group.values()]
    numbers = [
        number
        for case in cases
        for number in (
            *case['time_ratio'].values(),
            case['floor'],
            case['memory_ratio'],
            *case['seconds'],
        )
    ]
    assert all(math.isfinite(number) and number > 0 for number in numbers)
    assert {len(case['seconds']) for case in cases} == {2}
    for group in found['groups'].values():
        standard = group['standard']
        assert set(standard['time_ratio'].values()) == {1.0}
        assert standard['floor'] == standard['memory_ratio'] == 1
    assert all(case['label'] in printed for case in cases)
    assert 'Weights are untrained, so that number says nothing' in printed
    assert (out / 'benchmark.png').read_bytes().startswith(b'\x89PNG')
    assert sorted(path.name for path in out.iterdir()) == [
        'benchmark.json',
        'benchmark.png',
    ]
    # the floors, which no noise of the machine touches
    test = {n: c['operations'] for n, c in found['groups']['test'].items()}
    assert test['folded'] == test['standard'] == test['single']
    assert (
        9
        < test['mean'] / test['folded']
        < 10
        < (test['naive-mean'] / test['folded'])
    )
    train = {n: c['operations'] for n, c in found['groups']['train'].items()}
    assert 1 < train['anchored'] / train['standard'] < 1.05
    assert train['anchored'] == train['naive']
    adaptive = found['groups']['test']['adaptive']
    assert 2 <= adaptive['mean_references'] <= 10
    memory = {n: c['peak_bytes'] for n, c in found['groups']['test'].items()}
    assert memory['mean'] > memory['single'] > memory['standard']


def test_each_round_runs_every_case_once_in_an_order_of_its_own():
    all_runs = []
    cases = {
        name: Case(name, lambda name=name: all_runs.append(name), ())
        for name in 'abcdef'
    }
    settings = few_rounds(rounds=5, warmup=2)
    times = comparison._time_cases(cases, settings, lambda: None)
    runs = all_runs[12:]  # behind what tells how often to repeat
    rounds = [runs[i : i + 6] for i in range(0, len(runs), 6)]
    assert len(rounds) == 7
    assert all(sorted(names) == list('abcdef') for names in rounds)
    assert len({tuple(names) for names in rounds}) > 1
    assert {name: len(t) for name, t in times.items()} == dict.fromkeys(
        'abcdef', 5
    )
    all_runs.clear()
    comparison._time_cases(cases, settings, lambda: None)
    assert all_runs[12:] == runs


def test_short_cases_are_repeated_within_a_round():
    runs = {'short': 0, 'long': 0}

    def work(name, seconds):
        runs[name] += 1
        time.sleep(seconds)

    cases = {
        'short': Case('short', lambda: work('short', 0.01), ()),
        'long': Case('long', lambda: work('long', 0.1), ()),
    }
    settings = few_rounds(rounds=2, warmup=0, min_seconds=0.1)
    times = comparison._time_cases(cases, settings, lambda: None)
    assert runs['long'] == 2 + 2
    assert 2 + 2 * 5 <= runs['short'] <= 2 + 2 * 10
    assert all(taken >= 0.01 for taken in times['short'])
    assert min(times['short']) < 0.1


def test_a_folder_that_can_not_be_written_to_is_refused_first(tmp_path):
    (tmp_path / 'file').touch()
    with pytest.raises(
        ValueError, match='got .*file/out: .*Name another with `--out`'
    ):
        run_benchmark(['gone.py'], few_rounds(), str(tmp_path / 'file/out'))


def test_each_config_needs_a_checkpoint_of_its_own(tmp_path):
    with pytest.raises(ValueError, match='one --checkpoint for each of 1'):
        run_benchmark(
            ['a.py'], few_rounds(), str(tmp_path), ['a.pth', 'b.pth']
        )
