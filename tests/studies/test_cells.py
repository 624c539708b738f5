"""What a cell keeps of a model, and whether that goes to other machines."""

import json
import shutil
from statistics import mean, pstdev
from types import SimpleNamespace

import pytest
import torch
from helpers.tiny_studies import GROUND, STUDY, dump, read
from helpers.tiny_suites import SUITE, write_arrays

from mmanchor.datasets.shifts.kinds import ALL_C_KINDS, C_GROUPS
from mmanchor.studies.cells import all_cells, as_json
from mmanchor.studies.cli import run_study
from mmanchor.studies.metrics import METRICS, metric_names, values_of
from mmanchor.studies.slurm import waves
from mmanchor.studies.spec import load_study
from mmanchor.suite.candidates import Candidate
from mmanchor.suite.ensembles import EnsembleCandidate
from mmanchor.suite.images import ImageBatches
from mmanchor.suite.measure import measure
from mmanchor.suite.spec import Cell
from mmanchor.utils.config import read_config

BOTH = dict(name='both', method='standard', ensemble=2)
NOT_OF_SUITES = {'centre', 'around', 'around_raw'}
# what a model learns enough by to have a temperature
LONGER = {
    'train_dataloader.dataset.indices': 400,
    'train_cfg.max_epochs': 4,
}


@pytest.fixture(scope='module')
def grid(tmp_path_factory):
    """A grid with an ensemble, done once; how to run it again."""
    folder = tmp_path_factory.mktemp('grid')
    write_arrays(folder / 'arrays')
    (folder / 'tiny.py').write_text(SUITE)
    ground = dump(
        folder / 'ground.py', dict(GROUND, suite=str(folder / 'tiny.py'))
    )
    study = dump(
        folder / 'tiny_study.py',
        dict(
            STUDY,
            on=ground,
            seeds=[0, 1, 2],
            settings=[STUDY['settings'][0], BOTH],
        ),
    )

    def run(*flags, work_dir='work'):
        return run_study(
            [
                study,
                '--work-dir',
                str(folder / work_dir),
                '--data-root',
                str(folder),
                '--device',
                'cpu',
                '--workers',
                '1',
                *flags,
            ]
        )

    assert run('--only', 'both') == 0
    return SimpleNamespace(folder=folder, work=folder / 'work', run=run)


@pytest.fixture
def fitted_ground(ground_file, tmp_path):
    """A ground whose models have temperatures."""
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
    settings = [
        dict(
            name='masked',
            method='masked',
            options=LONGER,
            test=dict(num_references=3),
        )
    ]
    assert (
        study(
            '--on',
            fitted_ground,
            settings=settings,
            seeds=[0],
            metrics=['clean', 'auroc_photographs'],
        )
        == 0
    )
    path = tmp_path / 'work/cells/masked_seed0.json'
    cell = read(path)
    values = values_of(cell['model'], 'Arrays')
    absent = set(metric_names(['Photographs'])) - set(values)
    # of the corrupted arrays there are two severities, and fog and frost
    assert absent == NOT_OF_SUITES | set(cell['times']) & set(METRICS) | {
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


def test_groups_hold_every_kind_once():
    kinds = [kind for group in C_GROUPS.values() for kind in group]
    assert sorted(kinds) == sorted(ALL_C_KINDS)
    assert list(C_GROUPS) == ['noise', 'blur', 'weather', 'digital']


def test_a_group_is_the_mean_of_its_kinds():
    by_kind = {kind: dict(top1=float(i)) for i, kind in enumerate(ALL_C_KINDS)}
    row = dict(shifts=dict(C=dict(by_kind=by_kind)))
    found = values_of(row, 'C')
    assert found['noise'] == mean([0, 1, 2, 15])
    assert found['blur'] == mean([3, 4, 5, 6, 16])
    assert found['weather'] == mean([7, 8, 9, 10, 17])
    assert found['digital'] == mean([11, 12, 13, 14, 18])
    assert values_of(row, 'other') == {}


def test_a_model_without_a_temperature_stays_as_it_is(
    study, fitted_ground, tmp_path
):
    """As one that learns nothing."""
    settings = [
        dict(
            name='standard',
            method='standard',
            options={'optim_wrapper.optimizer.lr': 1e-12},
        )
    ]
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


def test_seeds_of_several_machines_are_cells_of_one_study(study_file):
    file = study_file()
    whole = {str(cell): cell.depends for cell in all_cells(load_study(file))}
    parts = {
        str(cell): cell.depends
        for seed in (0, 1)
        for cell in all_cells(load_study(file, None, [seed]))
    }
    assert parts == whole


def test_cells_say_nothing_of_the_machine(study, tmp_path, data):
    settings = [
        STUDY['settings'][1],
        dict(BOTH, ensemble=1),
        dict(
            name='broken',
            method='standard',
            options={'optim_wrapper.optimizer.lr': 1e30},
        ),
    ]
    (data / 'arrays').rename(tmp_path / 'away')
    assert study(settings=settings, seeds=[0]) == 1
    for path in (tmp_path / 'work/cells').iterdir():
        text = path.read_text()
        assert str(tmp_path) not in text and '/root' not in text
        assert '"/' not in text and ' /' not in text
        assert path.stat().st_size < 25_000
    cell = read(tmp_path / 'work/cells/both_seed0.json')
    assert 'data/arrays' in cell['missing'][0]['reason']
    # why it failed is beside the cells, for whoever mends it
    trace = (tmp_path / 'work/tracebacks/broken_seed0.txt').read_text()
    assert trace.startswith('Traceback')
    assert 'training diverged' in trace


def test_what_a_cell_depends_on_does_not_differ_between_machines(
    study_file, tmp_path
):
    cell = all_cells(load_study(study_file()))[0]
    depends = json.dumps(cell.depends)
    assert str(tmp_path) not in depends.replace(
        json.dumps(cell.study.on.suite), ''
    )
    # the representation of a function has its place in memory
    assert as_json(read_config) == 'mmanchor.utils.config.read_config'
    assert as_json(slice(1)) == 'slice(None, 1, None)'


def test_changed_cells_are_not_in_the_table_and_it_is_said_why(
    study, tmp_path
):
    one = dict(settings=STUDY['settings'][:1], seeds=[0])
    assert study(**one) == 0
    changed = [
        dict(STUDY['settings'][0], options={'optim_wrapper.optimizer.lr': 0.3})
    ]
    assert study('--report', settings=changed, seeds=[0]) == 0
    results = read(tmp_path / 'work/results.json')
    assert results['settings'][0]['n'] == 0
    (missing,) = results['missing']
    assert missing['state'] == 'changed'
    assert missing['reason'] == (
        'training.config.optim_wrapper.optimizer.lr: 0.1 then, 0.3 now'
    )


def test_an_ensemble_of_anchored_models_comes_behind_them_on_slurm(study_file):
    settings = [STUDY['settings'][1], dict(BOTH, method='masked')]
    cells = all_cells(load_study(study_file(settings=settings)))
    assert [[str(cell) for cell in wave] for wave in waves(cells)] == [
        ['masked, seed 0', 'masked, seed 1'],
        ['both, seed 0', 'both, seed 1'],
    ]


def test_training_that_was_stopped_counts_all_its_epochs(
    study, study_file, tmp_path, monkeypatch
):
    one = dict(settings=STUDY['settings'][:1], seeds=[0])
    (cell,) = all_cells(load_study(study_file(**one)))
    folder = cell.training.folder(tmp_path / 'work')
    folder.mkdir(parents=True)
    (folder / 'seconds.json').write_text('{"-4": 1000.0}')  # of another start
    assert study(**one) == 0
    found = read(tmp_path / 'work/cells/standard_seed0.json')['times']
    assert 1000 < found['training_seconds'] < 1000 + found['training']
    assert set(read(folder / 'seconds.json')) == {'-4', '0', '4'}


def test_an_ensemble_trains_what_is_not_there_and_nothing_else(
    grid, monkeypatch
):
    assert len(list(grid.work.glob('trained/*/epoch_2.pth'))) == 3
    monkeypatch.setattr(
        'mmanchor.studies.run.launch.train',
        lambda *args: pytest.fail('trained'),
    )
    assert grid.run() == 0
    with pytest.raises(ValueError, match="'both' has members, 2, but got 1"):
        grid.run('--seeds', '0')


def test_an_ensemble_averages_models_of_several_seeds(grid):
    assert grid.run() == 0
    work = grid.work
    cell = read(work / 'cells/both_seed2.json')
    assert cell['depends']['ensemble'] == [2, 0]
    alone = [read(work / f'cells/standard_seed{i}.json') for i in (2, 0)]
    assert cell['trained'] == ' + '.join(one['trained'] for one in alone)
    assert cell['weights'] == ' + '.join(one['weights'] for one in alone)
    assert cell['times']['training_seconds'] == pytest.approx(
        sum(one['times']['training_seconds'] for one in alone)
    )
    members = []
    for one in alone:
        folder = work / one['trained']
        members.append(
            Candidate(
                'one',
                read_config(folder / 'config.py'),
                str(folder / 'epoch_2.pth'),
                'config.py',
            )
        )
    ready = EnsembleCandidate('both', tuple(members)).load('cpu')
    batches = ImageBatches(
        Cell('Digits', dict(type='Digits', split='test', indices=40)),
        ready.pipeline,
    )
    (found,) = measure(ready, batches, 'cpu')
    figures = cell['model']['clean']['figures']
    assert figures['nll'] == pytest.approx(found.figures['nll'], rel=1e-5)
    assert figures['nll'] < mean(
        one['model']['clean']['figures']['nll'] for one in alone
    )
    results = read(work / 'results.json')
    assert 'share members' in results['conventions']['ensembles']
    both = results['settings'][1]['difference']
    assert both['metrics']['nll']['mean'] < 0


def test_cells_alone_make_the_tables_on_another_machine(grid, monkeypatch):
    assert grid.run() == 0
    other = grid.folder / 'evidence'
    shutil.copytree(grid.work / 'cells', other / 'cells')
    monkeypatch.setattr(
        'mmanchor.studies.run.train_model',
        lambda *args: pytest.fail('trained'),
    )
    assert grid.run('--report', work_dir='evidence') == 0
    for name in (
        'results.json',
        'results.csv',
        'report.md',
        'tiny_study.png',
        'tiny_study_differences.png',
    ):
        assert (other / name).read_bytes() == (grid.work / name).read_bytes()
    assert not (other / 'trained').exists()
    # nor is there anything left to do
    assert grid.run(work_dir='evidence') == 0
