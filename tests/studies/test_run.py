"""Grids of tiny models, done, resumed, changed and shared."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from statistics import mean, stdev

import pytest
import torch
from helpers.malicious import CreatesAFile
from helpers.tiny_studies import STUDY, read
from helpers.waiting import until
from mmengine.config import Config

from mmanchor.studies.cells import CellStore, all_cells
from mmanchor.studies.spec import load_study

ROOT = Path(__file__).parents[2]


def without_times(path) -> str:
    """A results file but for times, byte by byte."""
    text = path.read_text()
    body = json.dumps(dict(times=json.loads(text)['times']), indent=1)[2:-2]
    assert text.count(body) == 1
    return text.replace(body, '')


def test_a_grid_ends_in_json_a_table_and_a_figure(study, tmp_path, capsys):
    assert study('--seeds', 0, 1) == 0
    work = tmp_path / 'work'
    results = read(work / 'results.json')
    assert not results['missing'] and len(results['made_with']) == 1
    by_name = {one['name']: one for one in results['settings']}
    assert list(by_name) == ['standard', 'masked', 'masked, K = 2']
    for one in by_name.values():
        top1 = []
        for seed in (0, 1):
            cell = read(
                work
                / 'cells'
                / f'{one["name"].replace(", K = ", "-k-")}_seed{seed}'
                '.json'
            )
            assert cell['state'] == 'done'
            top1.append(cell['model']['clean']['figures']['top1'])
        assert one['mean']['clean'] == pytest.approx(mean(top1))
        assert one['std']['clean'] == pytest.approx(stdev(top1))
    # what differs at test alone is trained once
    assert len(list((work / 'trained').iterdir())) == 4
    spread = [
        read(work / f'cells/masked{k}_seed0.json')['model']['clean'][
            'figures'
        ]['spread']
        for k in ('', '-k-2')
    ]
    assert spread[0] == 0 < spread[1]
    weights = {
        read(path)['weights']
        for path in (work / 'cells').glob('masked*_seed0.json')
    }
    assert len(weights) == 1
    assert (work / 'tiny_study.png').read_bytes().startswith(b'\x89PNG')
    assert (work / 'tiny_study.pdf').read_bytes().startswith(b'%PDF')
    report = (work / 'report.md').read_text()
    value = by_name['masked']
    shown = f'{value["mean"]["clean"]:.1f} ± {value["std"]["clean"]:.1f}'
    assert shown in report and '](tiny_study.png)' in report
    low, high = value['interval']['clean']
    assert f'{shown} [{low:.1f}, {high:.1f}]' in report
    assert results['images'] == dict(clean=40, corrupted=20)
    assert 'Images: clean 40; corrupted 20 of each kind' in report
    assert "- command: `python tools/study.py '…/tiny_study.py'" in report
    assert '- device: cpu' in report and str(tmp_path) not in report
    weights = [one['weights'] for one in results['checkpoints']]
    assert len(weights) == 6 and all(f'| {one} |' in report for one in weights)
    page = (work / 'report.html').read_text(encoding='utf-8')
    assert shown in page and page.count('<svg') == 2
    assert 'This page holds no images of the data.' in page
    assert str(tmp_path) not in page and weights[0] in page
    lines = (work / 'results.csv').read_text().splitlines()
    assert lines[0].startswith('setting,series,x,metric,mean,std,n')
    assert len([line for line in lines if ',clean,' in line]) == 3
    assert shown in capsys.readouterr().out

    # again: nothing is done twice
    before = {path: path.stat().st_mtime_ns for path in work.rglob('*_seed*')}
    assert study() == 0
    after = {path: path.stat().st_mtime_ns for path in work.rglob('*_seed*')}
    assert {p: t for p, t in before.items() if p.suffix == '.json'} == {
        p: t for p, t in after.items() if p.suffix == '.json'
    }


def test_killed_and_started_again_it_is_the_same_but_for_times(
    study, study_file, words, tmp_path
):
    settings = STUDY['settings'][:2]
    longer = dict(settings=settings, seeds=[0])
    file = study_file(**longer)

    def start():
        return subprocess.Popen(
            [sys.executable, 'tools/study.py', *words(file)],
            cwd=ROOT,
            env=dict(os.environ, PYTHONPATH=str(ROOT)),
            stdout=subprocess.DEVNULL,
        )

    work = tmp_path / 'work'
    process = start()
    until(lambda: list(work.glob('trained/*/epoch_1.pth')))
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 75  # saved, and can go on
    assert not list(work.glob('trained/*/trained.json'))

    process = start()
    until(lambda: list(work.glob('trained/*/parts/*.json')))
    process.kill()
    process.wait(60)
    assert not (work / 'results.json').exists()

    assert study(**longer) == 0
    assert study(work_dir='whole', **longer) == 0
    assert without_times(work / 'results.json') == without_times(
        tmp_path / 'whole/results.json'
    )
    for name in ('standard_seed0.json', 'masked_seed0.json'):
        cells = [
            read(folder / 'cells' / name)
            for folder in (work, tmp_path / 'whole')
        ]
        assert all(cell.pop('times') for cell in cells)
        assert cells[0] == cells[1]


def test_changed_cells_are_refused_or_redone_knowingly(study, tmp_path):
    settings = STUDY['settings'][:2]
    assert study(settings=settings, seeds=[0]) == 0
    cells = tmp_path / 'work/cells'
    first = {path.name: path.stat().st_mtime_ns for path in cells.iterdir()}
    wider = dict(settings[1], options={'optim_wrapper.optimizer.lr': 0.05})
    with pytest.raises(
        ValueError,
        match=r'1 of 2 are not. masked, seed 0: '
        r'training.config.optim_wrapper.optimizer.lr: 0.1 then, 0.05 now. '
        'Name another folder with --work-dir, or add `--redo changed`',
    ):
        study(settings=[settings[0], wider], seeds=[0])
    assert (
        study('--redo', 'changed', settings=[settings[0], wider], seeds=[0])
        == 0
    )
    after = {path.name: path.stat().st_mtime_ns for path in cells.iterdir()}
    assert [name for name in first if first[name] != after[name]] == [
        'masked_seed0.json'
    ]


def test_what_was_only_begun_is_not_mixed_either(study, study_file, tmp_path):
    (cell,) = all_cells(
        load_study(study_file(settings=STUDY['settings'][:1], seeds=[0]))
    )
    CellStore(tmp_path / 'work').write(cell, 'started')
    with pytest.raises(
        ValueError, match='standard, seed 0: .*.lr: 0.1 then, 1.0'
    ):
        study(
            settings=[
                dict(
                    STUDY['settings'][0],
                    options={'optim_wrapper.optimizer.lr': 1.0},
                )
            ],
            seeds=[0],
        )


def test_a_cell_that_fails_is_told_and_the_others_go_on(
    study, tmp_path, capsys
):
    reason = 'ValueError: Expected finite weights'
    options = {'optim_wrapper.optimizer.lr': 1e30}
    settings = [
        dict(name='broken', method='masked', options=options),
        STUDY['settings'][0],
    ]
    assert study(settings=settings, seeds=[0]) == 1
    work = tmp_path / 'work'
    cell = read(work / 'cells/broken_seed0.json')
    assert cell['state'] == 'failed' and reason in cell['failed'][0]['reason']
    assert read(work / 'cells/standard_seed0.json')['state'] == 'done'
    (missing,) = read(work / 'results.json')['missing']
    assert (
        missing['cells'] == ['broken, seed 0'] and reason in missing['reason']
    )
    assert 'Failed: broken, seed 0' in capsys.readouterr().out.replace(
        '\n', ' '
    )
    assert reason.split()[-1] in (work / 'report.md').read_text()
    # mended, it is done without a word: there is nothing to mix it with
    mended = [dict(settings[0], options={}), settings[1]]
    assert study(settings=mended, seeds=[0]) == 0
    assert not read(work / 'results.json')['missing']


def test_code_in_a_trained_checkpoint_is_not_run(study, tmp_path, capsys):
    grid = dict(settings=STUDY['settings'][:1], seeds=[0])
    assert study(**grid) == 0
    (path,) = (tmp_path / 'work/trained').glob('*/*.pth')
    saved = torch.load(path, weights_only=False)
    saved['meta']['more'] = CreatesAFile(tmp_path / 'created')
    torch.save(saved, path)
    (tmp_path / 'work/cells/standard_seed0.json').unlink()
    assert study(**grid) == 1
    assert 'can run code' in ' '.join(capsys.readouterr().out.split())
    assert not (tmp_path / 'created').exists()


def test_one_cell_by_its_number_and_a_report_of_what_is_there(
    study, tmp_path, capsys, monkeypatch
):
    assert study('--cell', 3) == 0  # masked, seed 1
    work = tmp_path / 'work'
    assert [path.name for path in (work / 'cells').iterdir()] == [
        'masked_seed1.json'
    ]
    assert not (work / 'results.json').exists()
    assert study('--report') == 0
    results = read(work / 'results.json')
    left = {one['state']: one['cells'] for one in results['missing']}
    assert set(left) == {'to do', 'trained'} and len(left['to do']) == 4
    assert left['trained'] == ['masked, K = 2, seed 1']  # by the same model
    masked = results['settings'][1]
    assert masked['n'] == 1 and masked['std']['clean'] is None
    printed = capsys.readouterr().out
    assert 'Not there: to do: standard, seed 0; standard, seed 1' in printed
    with pytest.raises(ValueError, match='--cell from 0 to 5, but got 6'):
        study('--cell', 6)
    monkeypatch.delenv('SLURM_ARRAY_TASK_ID', raising=False)
    with pytest.raises(ValueError, match='SLURM_ARRAY_TASK_ID, but got neit'):
        study('--cell')
    monkeypatch.setenv('SLURM_ARRAY_TASK_ID', '5')  # its model is there
    assert study('--cell') == 0
    assert (work / 'cells/masked-k-2_seed1.json').exists()
    assert len(list((work / 'trained').iterdir())) == 1


def test_all_settings_of_a_seed_come_before_the_next_seed(
    study, tmp_path, capsys
):
    grid = dict(settings=STUDY['settings'][:2])
    options = ['--cfg-options', 'train_cfg.max_epochs=1']
    assert study('--train-only', *options, **grid) == 0
    told = re.findall(r'^\d of 4: (.*)$', capsys.readouterr().out, re.M)
    assert told == [
        'standard, seed 0',
        'masked, seed 0',
        'standard, seed 1',
        'masked, seed 1',
    ]
    # trained, not measured, and nothing is store that the suite decides
    work = tmp_path / 'work'
    trained = {
        path: path.stat().st_mtime_ns
        for path in work.glob('trained/*/trained.json')
    }
    assert len(trained) == 4
    assert not (work / 'cells').exists()
    assert not (work / 'report.md').exists()
    assert study('--list', *options, **grid) == 0
    assert re.findall(r'(\d)  (.*): trained', capsys.readouterr().out) == [
        ('0', 'standard, seed 0'),
        ('1', 'standard, seed 1'),
        ('2', 'masked, seed 0'),
        ('3', 'masked, seed 1'),
    ]
    # the same command without the flag measures these models
    assert study('--only', 'masked', *options, **grid) == 0
    assert len(list((work / 'cells').iterdir())) == 2
    assert trained == {path: path.stat().st_mtime_ns for path in trained}


def test_a_warm_start_takes_the_weights_of_the_same_seed(study, tmp_path):
    settings = [
        dict(name='warm', method='masked', start='standard'),
        dict(name='standard', method='standard'),
        dict(
            name='probe',
            method='standard',
            # of another set of classes
            start=dict(
                method='standard', options={'model.head.num_classes': 12}
            ),
            options={'model.backbone.frozen_stages': 4},
        ),
    ]
    assert study(settings=settings, seeds=[0]) == 0
    folders = {
        name: tmp_path
        / 'work'
        / read(tmp_path / f'work/cells/{name}_seed0.json')['trained']
        for name in ('warm', 'standard', 'probe')
    }
    assert len(list((tmp_path / 'work/trained').iterdir())) == 4
    starts = {
        name: Config.fromfile(folders[name] / 'config.py').load_from
        for name in ('warm', 'probe')
    }
    assert starts['warm'] == str(folders['standard'] / 'epoch_2.pth')
    before, after = (
        torch.load(path, weights_only=False)['state_dict']
        for path in (starts['probe'], folders['probe'] / 'epoch_2.pth')
    )
    assert torch.equal(
        before['backbone.conv1.weight'], after['backbone.conv1.weight']
    )
    assert before['head.fc.weight'].shape == (12, 64)
    assert after['head.fc.weight'].shape == (10, 64)


@pytest.mark.parametrize('content', [b'', b'{', b'[]', b'{}', b'\xff'])
def test_damaged_files_of_a_study_are_as_good_as_not_there(
    study_file, tmp_path, content
):
    (cell,) = all_cells(
        load_study(study_file(settings=STUDY['settings'][:1], seeds=[0]))
    )
    store = CellStore(tmp_path)
    store.write(cell, 'started')
    assert store.state(cell) == 'started'
    store.path(cell).write_bytes(content)
    assert store.state(cell) == 'to do' and not store.is_done(cell)
    folder = cell.training.folder(tmp_path)
    folder.mkdir(parents=True)
    (folder / 'epoch_1.pth').touch()
    (folder / 'trained.json').write_text('{"file": "epoch_1.pth"}')
    assert cell.training.checkpoint(tmp_path) == str(folder / 'epoch_1.pth')
    (folder / 'trained.json').write_bytes(content)
    assert cell.training.checkpoint(tmp_path) is None


def test_missing_sets_are_told_and_measured_when_asked(
    study, data, tmp_path, capsys
):
    one = dict(settings=STUDY['settings'][:1], seeds=[0])
    (data / 'arrays').rename(tmp_path / 'away')
    assert study(**one) == 0
    assert 'missing: Arrays: standard, seed 0. ' in capsys.readouterr().out
    (tmp_path / 'away').rename(data / 'arrays')
    assert study('--list', **one) == 0
    assert 'done, sets missing' in capsys.readouterr().out
    assert study('--redo', 'missing', **one) == 0
    results = read(tmp_path / 'work/results.json')
    assert not results['missing']
    assert 'corrupted' in results['settings'][0]['mean']


def test_a_missing_clean_set_ends_a_study_before_it_trains(
    study, tmp_path, monkeypatch
):
    def build(cell):
        raise FileNotFoundError('no such folder')

    monkeypatch.setattr('mmanchor.suite.images._build', build)
    with pytest.raises(FileNotFoundError, match='clean .*--data-root'):
        study('--seeds', 0)
    assert not (tmp_path / 'work/trained').exists()
