"""The command line of studies."""

import pytest
from helpers.tiny_studies import STUDY, read

from mmanchor.studies.cli import run_study


def test_one_cell_by_its_number_and_a_report_of_what_is_there(
    finished, tmp_path, monkeypatch
):
    settings = STUDY['settings']
    key = finished.cells(settings=settings)[3].training.key
    work = finished.copy(tmp_path, f'trained/{key}')
    grid = dict(work_dir=work, settings=settings)
    assert finished.run('--cell', 3, **grid) == 0  # masked, seed 1
    cells = work / 'cells'
    assert [path.name for path in cells.iterdir()] == ['masked_seed1.json']
    assert not (work / 'results.json').exists()
    assert finished.run('--report', **grid) == 0
    results = read(work / 'results.json')
    left = {one['state']: one['cells'] for one in results['missing']}
    assert set(left) == {'to do', 'trained'} and len(left['to do']) == 4
    # it has the model of the finished cell
    assert left['trained'] == ['masked, K = 2, seed 1']
    masked = results['settings'][1]
    assert masked['n'] == 1 and masked['std']['clean'] is None
    assert (
        'Not there: to do: standard, seed 0; standard, seed 1'
        in finished.printed
    )
    with pytest.raises(ValueError, match='--cell from 0 to 5, but got 6'):
        finished.run('--cell', 6, **grid)
    monkeypatch.delenv('SLURM_ARRAY_TASK_ID', raising=False)
    with pytest.raises(ValueError, match='SLURM_ARRAY_TASK_ID, but got neit'):
        finished.run('--cell', **grid)
    monkeypatch.setenv('SLURM_ARRAY_TASK_ID', '5')
    assert finished.run('--cell', **grid) == 0
    assert (cells / 'masked-k-2_seed1.json').exists()
    assert len(list((work / 'trained').iterdir())) == 1


def test_the_baseline_has_to_be_a_setting(tmp_path):
    with pytest.raises(
        ValueError, match="--baseline to be among .*'standard'"
    ):
        run_study(
            ['evidence', '--on', 'digits', '--work-dir', str(tmp_path)]
            + ['--list', '--baseline', 'standrd']
        )
