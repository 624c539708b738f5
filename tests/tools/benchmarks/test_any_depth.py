import runpy
import sys
from pathlib import Path

import pytest
import torch
from time_and_memory import operations

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


def test_ten_references_after_the_last_stage_cost_less_than_two_passes():
    tool = runpy.run_path(str(TOOL))
    models = tool['build_models'](10, ('layer4', 'head'))
    images = torch.randn(2, 3, 32, 32)
    counts, hidden = {}, []
    models['layer4'].head.layers[-1].register_forward_pre_hook(
        lambda _, inputs: hidden.append(inputs[0].shape)
    )
    with torch.no_grad():
        for name in models:
            models[name](images)  # features of references are kept
            hidden.clear()
            counts[name] = operations(lambda: models[name](images))
            if name == 'layer4':
                rows, widths = zip(*hidden)
    assert sum(rows) == 20 and set(widths) == {512}
    assert counts['plain'] < counts['layer4'] <= 2 * counts['plain']
    assert counts['plain'] < counts['head'] <= 2 * counts['plain']


def test_one_round_has_no_quartiles(monkeypatch, capsys):
    with pytest.raises(SystemExit):
        run(monkeypatch, '--rounds', '1')
    assert '--rounds has to be 2 or more' in capsys.readouterr().err
