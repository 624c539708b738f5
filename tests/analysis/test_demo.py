import json

import pytest
import torch
from builders import build_model, make_batch

from mmanchor.analysis import demo
from mmanchor.analysis.demo import MODELS, PROTOCOLS, run_demo
from mmanchor.analysis.predictions import Predictions
from mmanchor.analysis.step_time import step_time_ratios


def small(config):
    """The demo's configs with narrow models and few images."""

    def make(*args):
        cfg = config(*args)
        cfg.merge_from_dict({
            'model.backbone.stem_channels': 8,
            'model.backbone.base_channels': 8,
            'model.head.in_channels': 64,
            'train_dataloader.dataset.indices': 300,
            'val_dataloader.dataset.indices': 100,
            'test_dataloader.dataset.indices': 100,
        })
        return cfg

    return make


def test_the_demo_reports_every_model_and_repeats_its_figures(
        tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(demo, '_config', small(demo._config))
    monkeypatch.setattr(demo, 'SEVERITIES', (2, ))
    monkeypatch.setattr(
        demo, 'step_time_ratios',
        lambda models, batch: step_time_ratios(models, batch, 2, 1))
    first = run_demo(str(tmp_path / 'a'), max_epochs=1)
    printed = capsys.readouterr().out
    second = run_demo(str(tmp_path / 'b'), max_epochs=1)
    assert first['models'] == second['models']
    assert [(row['name'], row['num_references'], row['protocol'])
            for row in first['models']
            ] == [('standard', None, None)] + [(name, *protocol)
                                               for name in list(MODELS)[1:]
                                               for protocol in PROTOCOLS]
    spreads = [row['corrupted']['spread'] for row in first['models']]
    assert spreads[0] is None
    assert spreads[1] == spreads[4] == 0  # K = 1
    assert min(spreads[2], spreads[3], spreads[5], spreads[6]) > 0
    used = [row['clean']['used'] for row in first['models']]
    assert used[:3] == [0, 1, 10] and used[4:6] == [1, 10]
    assert 2 <= min(used[3], used[6]) and max(used[3], used[6]) <= 10
    assert set(first['train_step_time_ratio']) == set(MODELS)
    assert json.loads((tmp_path / 'a/results.json').read_text()) == first
    assert (tmp_path / 'a/demo.png').read_bytes().startswith(b'\x89PNG')
    assert not list(tmp_path.rglob('*.partial'))
    for name in MODELS:
        assert f'train {name}' in printed and f'\n {name} ' in printed


def test_predictions_summarise_themselves():
    scores = torch.tensor([[0.9, 0.1], [0.6, 0.4]])
    found = Predictions(scores, torch.tensor([0, 1]), None,
                        torch.tensor([2, 3]))
    assert found.mean_used == 2.5
    assert found.accuracy == 50 and found.spread is None
    assert found.ece == pytest.approx((0.1 + 0.6) / 2)
    spread = found._replace(stds=torch.tensor([[1., 2.], [3., 6.]])).spread
    assert spread == 3


def test_step_times_are_relative_to_the_first_and_leave_models_alone():
    model = build_model(preprocessor=dict(seed=0))
    before = {k: v.clone() for k, v in model.state_dict().items()}
    ratios = step_time_ratios([model, model], make_batch(4), 3, 1)
    assert ratios[0] == 1 and 0.1 < ratios[1] < 10
    for key, value in model.state_dict().items():
        assert torch.equal(value, before[key])
