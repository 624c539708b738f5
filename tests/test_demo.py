from dataclasses import replace

import pytest
import torch
from helpers.builders import build_model, make_batch

from mmanchor import demo
from mmanchor.demo import MODELS, model_name, run_demo, step_time_ratios
from mmanchor.suite.spec import load_suite


def small(config):
    """The demo's configs with narrow models and few images."""

    def make(*args):
        cfg = config(*args)
        cfg.merge_from_dict(
            {
                'model.backbone.stem_channels': 8,
                'model.backbone.base_channels': 8,
                'model.head.in_channels': 64,
                'train_dataloader.dataset.indices': 300,
                'val_dataloader.dataset.indices': 100,
                'test_dataloader.dataset.indices': 100,
            }
        )
        return cfg

    return make


def fewer_cells(name, data_root):
    suite = load_suite(name, data_root)
    shift = replace(
        suite.shifts[0], kinds=('contrast', 'shot_noise'), severities=(2, 4)
    )
    clean = replace(suite.clean, dataset=dict(suite.clean.dataset, indices=60))
    return replace(suite, clean=clean, shifts=(shift,))


@pytest.fixture
def demo_of_one_epoch(tmp_path, monkeypatch):
    """A function that runs the demo with small models, and its results."""
    monkeypatch.setattr(demo, '_config', small(demo._config))
    monkeypatch.setattr(demo, 'load_suite', fewer_cells)
    monkeypatch.setattr(
        demo,
        'step_time_ratios',
        lambda models, batch: step_time_ratios(models, batch, 2, 1),
    )
    monkeypatch.chdir(tmp_path)  # the same names in all results

    def run(name):
        (tmp_path / 'demo').mkdir()
        results = run_demo(
            'demo', max_epochs=1, data_root=str(tmp_path / 'data')
        )
        (tmp_path / 'demo').rename(tmp_path / name)
        return results

    return run


@pytest.mark.slow
def test_the_demo_repeats_its_figures(demo_of_one_epoch):
    found = [demo_of_one_epoch(name) for name in ('a', 'b')]
    for results in found:
        del results['times']
        for one in results['models']:
            del one['sha256']  # a checkpoint holds times
    assert found[0] == found[1]


def test_the_demo_reports_every_model(demo_of_one_epoch, tmp_path, capsys):
    results = demo_of_one_epoch('a')
    printed = capsys.readouterr().out
    rows = results['models']
    assert [
        (row['name'], row['num_references'], row['protocol']) for row in rows
    ] == [
        ('standard', None, None),
        ('anchored, K = 1', 1, 'mean'),
        ('anchored, K = 10', 10, 'mean'),
        ('anchored, masked, K = 1', 1, 'mean'),
        ('anchored, masked, K = 10', 10, 'mean'),
    ]
    corrupted = [row['shifts']['Digits-C']['mean'] for row in rows]
    assert corrupted[0]['spread'] is None
    assert corrupted[1]['spread'] == corrupted[3]['spread'] == 0
    assert min(corrupted[2]['spread'], corrupted[4]['spread']) > 0
    assert all(row['ood']['Photographs']['scores'] for row in rows)
    assert set(results['times']['train_step_ratio']) == set(MODELS)
    assert (tmp_path / 'a/demo.png').read_bytes().startswith(b'\x89PNG')
    assert (tmp_path / 'a/report.md').exists()
    assert not results['missing'] and not results['failed']
    for name in MODELS:
        assert f'train {name}' in printed
    for row in rows:
        assert f'\n {model_name(row)} ' in printed


def test_step_times_are_relative_to_the_first_and_leave_models_alone():
    model = build_model(preprocessor=dict(seed=0))
    before = {k: v.clone() for k, v in model.state_dict().items()}
    ratios = step_time_ratios([model, model], make_batch(4), 3, 1)
    assert ratios[0] == 1 and 0.1 < ratios[1] < 10
    for key, value in model.state_dict().items():
        assert torch.equal(value, before[key])
