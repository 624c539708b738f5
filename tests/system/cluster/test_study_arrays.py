"""A study on a real Slurm, as job arrays."""

import re
import sys
from pathlib import Path

import pytest
from helpers.slurm_jobs import TOOLS, command, has_ended, wait_for
from helpers.tiny_studies import STUDY, read

pytestmark = pytest.mark.cluster


def test_cells_are_tasks_and_the_report_comes_behind_them(
    slurm, study_file, words
):
    standard, masked, more = STUDY['settings']
    long = {'train_cfg.max_epochs': 12, 'param_scheduler.1.end': 12}
    study = study_file(
        settings=[dict(standard, options=long), masked, more], seeds=[0]
    )
    told = command(
        sys.executable,
        TOOLS / 'study.py',
        *words(study),
        '--slurm',
        'test',
        '--at-once',
        '2',
    )
    arrays = re.findall(r'Job array (\d+): cells (\S+)', told)
    assert [cells for _, cells in arrays] == ['0,1', '2']  # 2 shares 1's model
    (report,) = re.findall(r'Job (\d+): the report', told)

    # as Slurm does near the time limit
    first = f'{arrays[0][0]}_0'
    log = Path(f'work/slurm/{first}.log')
    wait_for(lambda: list(Path('work').glob('trained/*/epoch_1.pth')), log)
    command('scancel', '--batch', '--signal=USR1', first)
    wait_for(lambda: has_ended(report), log)
    assert 'Restarts=1' in command('scontrol', 'show', 'job', first)
    assert log.read_text().count(': requeued.') == 1

    results = read(Path('work/results.json'))
    assert not results['missing']
    assert [(one['name'], one['n']) for one in results['settings']] == [
        (one['name'], 1) for one in STUDY['settings']
    ]
    assert Path('work/report.md').exists()
    assert command('squeue', '--noheader') == ''
