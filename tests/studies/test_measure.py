"""What a cell records of its model."""

from statistics import mean, pstdev

import pytest
import torch
from helpers.tiny_studies import read
from helpers.tiny_suites import SUITE

from mmanchor.studies.metrics import METRICS, metric_names, values_of
from mmanchor.suite.candidates import Candidate
from mmanchor.suite.ensembles import EnsembleCandidate
from mmanchor.suite.images import ImageBatches
from mmanchor.suite.measure import measure
from mmanchor.suite.spec import Cell
from mmanchor.utils.config import read_config

LANDSCAPE_METRICS = {'centre', 'around', 'around_raw'}


# enough training for a temperature to fit
LONGER = {
    'train_dataloader.dataset.indices': 400,
    'train_cfg.max_epochs': 4,
}


@pytest.fixture
def fitted_ground(ground_file, tmp_path):
    """A ground with held-out images, to fit temperatures on."""
    suite = tmp_path / 'held_out.py'
    suite.write_text(
        SUITE.replace('_count = 40', '_count = 100')
        + 'held_out = dict(share=0.5)'
    )
    return ground_file(
        'fitted',
        suite=str(suite),
        settings=dict(batch_size=40, scores=['energy', 'msp']),
    )


def test_a_cell_has_every_metric_whatever_the_table_shows(
    study, fitted_ground, tmp_path
):
    masked = dict(name='masked', method='masked', options=LONGER)
    changes = dict(
        settings=[dict(masked, test=dict(num_references=3))],
        seeds=[0],
        metrics=['clean', 'auroc_photographs'],
    )
    assert study('--on', fitted_ground, **changes) == 0
    cell = read(tmp_path / 'work/cells/masked_seed0.json')
    values = values_of(cell['model'], 'Arrays')
    absent = set(metric_names(['Photographs'])) - set(values)
    # of the corrupted arrays there are two severities, and fog and frost
    assert absent == LANDSCAPE_METRICS | set(cell['times']) & set(METRICS) | {
        'severity_2',
        'severity_4',
        'severity_5',
        'noise',
        'blur',
        'digital',
    }
    assert cell['times']['seconds'] > 0
    assert cell['times']['training_seconds'] > 0
    assert cell['unfitted'] == []

    model, scaled = cell['model'], cell['model']['temperature_scaled']
    assert model['temperature']['temperature'] != 1
    assert model['temperature']['num_images'] == 50
    assert model['clean']['num_images'] == 50
    for name in ('ece', 'nll'):
        assert values[name] == model['clean']['figures'][name]
        assert values[f'{name}_scaled'] == scaled['clean']['figures'][name]
        assert values[name] != values[f'{name}_scaled']
    arrays = model['shifts']['Arrays'], scaled['shifts']['Arrays']
    assert values['corrupted_nll'] == arrays[0]['mean']['nll']
    assert values['corrupted_nll_scaled'] == arrays[1]['mean']['nll']
    assert values['corrupted'] == arrays[1]['mean']['top1']
    assert values['weather'] == pytest.approx(
        mean(
            arrays[0]['cells'][kind][severity]
            for kind in ('fog', 'frost')
            for severity in '13'
        )
    )
    assert (
        values['auroc']
        == values['auroc_photographs']
        == pytest.approx(
            100 * model['ood']['Photographs']['scores']['energy']['auroc']
        )
    )
    alone = [
        model['clean']['figures'][f'top1_reference_{i}'] for i in (1, 2, 3)
    ]
    assert values['single_clean'] == pytest.approx(mean(alone))
    assert values['single_clean_std'] == pytest.approx(pstdev(alone))
    (path,) = (tmp_path / 'work').glob('trained/*/epoch_4.pth')
    saved = torch.load(path, weights_only=False)['state_dict']
    wr, wd = saved['backbone.conv1.weight'].chunk(2, 1)
    assert values['stem_distance'] == pytest.approx(
        ((wr - wd).norm() / wd.norm()).item(), rel=1e-5
    )
    lines = (tmp_path / 'work/report.md').read_text().splitlines()
    assert (
        '| setting | seeds | clean accuracy (%) | AUROC by energy, '
        'photographs (%) |' in lines
    )


def test_a_model_without_a_temperature_stays_as_it_is(
    study, fitted_ground, tmp_path
):
    """Such as a model that learns nothing."""
    options = {
        'optim_wrapper.optimizer.lr': 1e-12,
        'train_cfg.max_epochs': 1,
    }
    settings = [dict(name='standard', method='standard', options=options)]
    assert study('--on', fitted_ground, settings=settings, seeds=[0]) == 0
    cell = read(tmp_path / 'work/cells/standard_seed0.json')
    assert cell['state'] == 'done' and cell['missing'] == []
    (one,) = cell['unfitted']
    assert one['name'] == 'temperature on Digits'
    assert cell['model']['temperature'] == dict(temperature=1.0)
    values = values_of(cell['model'], 'Arrays')
    assert values['ece_scaled'] == values['ece']
    assert values['corrupted_nll_scaled'] == values['corrupted_nll']
    assert 'stem_distance' not in values
    (missing,) = read(tmp_path / 'work/results.json')['missing']
    assert missing['state'] == 'unfitted: temperature on Digits'


def test_an_ensemble_trains_nothing_but_its_members(finished):
    assert finished.ensemble_models == 2
    with pytest.raises(ValueError, match="'both' has members, 2, but got 1"):
        finished.run('--seeds', '0')


def test_an_ensemble_averages_the_models_of_several_seeds(finished):
    cell = read(finished.work / 'cells/both_seed1.json')
    assert cell['depends']['ensemble'] == [1, 0]
    alone = [
        read(finished.work / f'cells/standard_seed{i}.json') for i in (1, 0)
    ]
    assert cell['trained'] == ' + '.join(one['trained'] for one in alone)
    assert cell['weights'] == ' + '.join(one['weights'] for one in alone)
    assert cell['times']['training_seconds'] == pytest.approx(
        sum(one['times']['training_seconds'] for one in alone)
    )
    folders = [finished.work / one['trained'] for one in alone]
    members = [
        Candidate(
            'one',
            read_config(folder / 'config.py'),
            str(folder / 'epoch_2.pth'),
            'config.py',
        )
        for folder in folders
    ]
    ready = EnsembleCandidate('both', tuple(members)).load('cpu')
    batches = ImageBatches(
        Cell('Digits', dict(type='Digits', split='test', indices=40)),
        ready.pipeline,
    )
    (expected,) = measure(ready, batches, 'cpu')
    values = cell['model']['clean']['figures']
    assert values['nll'] == pytest.approx(expected.figures['nll'], rel=1e-5)
    assert values['nll'] < mean(
        one['model']['clean']['figures']['nll'] for one in alone
    )
