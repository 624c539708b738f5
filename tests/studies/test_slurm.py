"""Studies on Slurm, with programs that stand in for Slurm's."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from helpers.tiny_studies import STUDY
from helpers.waiting import until

from mmanchor.studies.cells import CellStore, all_cells
from mmanchor.studies.slurm import TOOLS, waves
from mmanchor.studies.spec import load_study

ROOT = Path(__file__).parents[2]


def put(folder, name, lines):
    fake = folder / name
    fake.write_text(f'#!/bin/sh\n{lines}\n')
    fake.chmod(0o755)


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """Programs that take note of how they are called."""
    folder = tmp_path / 'bin'
    folder.mkdir()
    put(
        folder,
        'sbatch',
        'echo "$@" >> '
        + str(tmp_path / 'submitted')
        + f'\necho "$((10 + $(wc -l < {tmp_path}/submitted)));cluster"',
    )
    put(folder, 'sinfo', 'echo "${GRES:-(null)}"')
    monkeypatch.setenv('PATH', f'{folder}:{os.environ["PATH"]}')
    for name in ('SRUN_ARGS', 'CPUS_PER_TASK', 'GRES'):
        monkeypatch.delenv(name, raising=False)

    def submitted():
        lines = (tmp_path / 'submitted').read_text().splitlines()
        (tmp_path / 'submitted').unlink()
        return [
            line.replace(f'{TOOLS.resolve()}/', '').split() for line in lines
        ]

    return submitted


def has(command, *expected):
    return f' {" ".join(expected)} ' in f' {" ".join(command)} '


def test_what_is_left_is_an_array_and_then_what_needs_its_models(
    slurm, study, study_file, tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv('GRES', 'gpu:a100:8')
    monkeypatch.setenv('SRUN_ARGS', '--time 60 --qos high')
    monkeypatch.setenv('CPUS_PER_TASK', '3')
    work = tmp_path / 'work'
    done = all_cells(load_study(study_file()))[1]  # standard, seed 1
    CellStore(work).write(
        done,
        'done',
        model={},
        times={},
        failed=[],
        missing=[],
        versions={},
        commit='',
        device='cpu',
    )
    assert study('--slurm', 'part', '--at-once', 2) == 0
    first, second, report = slurm()
    # standard seed 0, masked 0 and 1; then masked, K = 2
    assert has(first, '--partition part --job-name study-tiny_study')
    assert has(
        first,
        '--cpus-per-task 3 --gres gpu:1 --time 60 --qos high '
        '--array 0,2,3%2 '
        f'--output {work}/slurm/%A_%a.log study.sbatch',
    )
    assert has(second, '--array 4,5%2') and has(
        second, '--dependency afterany:11'
    )
    for array in (first, second):
        words = array[array.index('study.sbatch') + 1 :]
        assert words[0].endswith('tiny_study.py')
        assert words[-1] == '--cell' and '--slurm' not in words
        assert has(words, f'--work-dir {work}') and '--at-once' not in words
    assert has(report, '--dependency afterany:11:12')
    assert report[-1] == '--report' and '--gres' not in report
    printed = capsys.readouterr().out
    assert 'Job array 11: cells 0,2,3' in printed
    assert 'Job 13: the report' in printed and (work / 'slurm').is_dir()


def test_nodes_without_gpus_and_some_settings_alone(slurm, study):
    assert (
        study('--slurm', 'part', '--only', 'masked, K = 2', '--seeds', '1')
        == 0
    )
    array, report = slurm()
    assert '--gres' not in array and has(array, '--array 2')
    words = array[array.index('study.sbatch') + 1 :]
    # cells are counted in the whole grid of these seeds
    assert has(words, '--seeds 1') and '--only' not in words
    assert '--only' in report


def test_nothing_is_submitted_where_something_is_wrong(slurm, study, tmp_path):
    odd = dict(
        STUDY['settings'][1], options={'data_preprocessor.mask_porb': 0.5}
    )
    with pytest.raises(ValueError, match='(?s)Expected masked.*mask_porb'):
        study('--slurm', 'part', settings=[STUDY['settings'][0], odd])
    with pytest.raises(SystemExit):
        study('--slur', 'part')  # tasks would get a flag that is shortened
    assert not (tmp_path / 'submitted').exists()


def test_without_slurm_it_is_said(study, tmp_path, monkeypatch):
    monkeypatch.setenv('PATH', str(tmp_path))
    with pytest.raises(ValueError, match='there is no `sinfo`. Run it on a'):
        study('--slurm', 'part')


def test_what_slurm_says_against_it_is_passed_on(slurm, study, tmp_path):
    put(tmp_path / 'bin', 'sbatch', 'echo "no such partition" >&2; exit 1')
    with pytest.raises(ValueError, match='but got: no such partition'):
        study('--slurm', 'nowhere')


def test_what_needs_other_models_comes_behind_them(study_file):
    standard, masked, two_references = STUDY['settings']

    def found(*settings, seeds):
        study = load_study(study_file(settings=list(settings), seeds=seeds))
        return [list(map(str, wave)) for wave in waves(all_cells(study))]

    warm = dict(name='warm', method='masked', start='standard')
    assert found(warm, standard, masked, two_references, seeds=[0]) == [
        ['standard, seed 0', 'masked, seed 0'],
        ['masked, K = 2, seed 0'],
        ['warm, seed 0'],
    ]
    both = dict(name='both', method='masked', ensemble=2)
    assert found(masked, both, seeds=[0, 1]) == [
        ['masked, seed 0', 'masked, seed 1'],
        ['both, seed 0', 'both, seed 1'],
    ]


@pytest.fixture
def start(tmp_path):
    """Start the batch script as Slurm would; ``srun`` ends as it is told."""
    fakes = {
        'srun': 'echo srun "$@"; [ -z "$TASK" ] || exit $TASK\n'
        'trap "exit ${TOLD:-75}" USR1; echo $$ > pid\n'
        'while :; do sleep 0.1; done',
        'scancel': 'echo scancel "$@"; kill -USR1 $(cat pid)',
        'scontrol': 'echo scontrol "$@"; echo "PreemptTime=${PREEMPTED:-None}"',
    }
    for name, lines in fakes.items():
        put(tmp_path, name, lines)

    def start(*words, **variables):
        return subprocess.Popen(
            ['bash', ROOT / 'tools/study.sbatch', *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=tmp_path,
            env={
                **os.environ,
                'PATH': f'{tmp_path}:{os.environ["PATH"]}',
                'SLURM_JOB_ID': '7',
                'TOOLS': str(ROOT / 'tools'),
                'PYTHON': 'python',
                **variables,
            },
        )

    return start


@pytest.mark.parametrize(
    'array,job',
    [
        ({}, '7'),
        (dict(SLURM_ARRAY_JOB_ID='5', SLURM_ARRAY_TASK_ID='2'), '5_2'),
        (dict(TOLD='138'), '7'),  # before Python listened
    ],
)
def test_near_the_limit_a_task_is_told_and_the_job_requeued(
    start, tmp_path, array, job
):
    process = start('masking', '--work-dir', 'w', '--cell', **array)
    until((tmp_path / 'pid').exists, 30)
    time.sleep(0.3)
    process.send_signal(signal.SIGUSR1)
    printed = process.communicate(timeout=30)[0].splitlines()
    assert process.returncode == 0
    status = array.get('TOLD', '75')
    assert printed == [
        'srun --ntasks=1 --kill-on-bad-exit=1 python -u '
        f'{ROOT}/tools/study.py masking --work-dir w --cell',
        f'scancel --signal=USR1 {job}',
        f'Start 1 ended before it was done (status {status}): requeued.',
        f'scontrol requeue {job}',
        'PreemptTime=None',
    ]


@pytest.mark.parametrize(
    'task,status,requeued',
    [
        (dict(TASK='0'), 0, False),
        (dict(TASK='1'), 1, False),  # a cell failed
        (dict(TASK='75'), 0, True),  # it had to make way
        # it had to make way before Python listened
        (dict(TASK='143', PREEMPTED='2026-01-01T00:00:00'), 0, True),
    ],
)
def test_a_job_goes_on_where_its_task_can(task, status, requeued, start):
    process = start('masking', **task)
    printed, _ = process.communicate(timeout=30)
    assert process.returncode == status
    assert ('scontrol requeue 7' in printed) == requeued


def test_there_is_an_end_to_requeueing(start):
    process = start(
        'masking', TASK='75', SLURM_RESTART_COUNT='2', MAX_REQUEUES='2'
    )
    printed, _ = process.communicate(timeout=30)
    assert process.returncode == 1 and 'scontrol' not in printed
    assert 'Started 3 times: not requeued. Raise MAX_REQUEUES?' in printed


@pytest.mark.parametrize(
    'words,variables,message',
    [
        ([], {}, 'usage: sbatch tools/study.sbatch STUDY'),
        (['masking'], dict(TOOLS='/nowhere'), 'Expected tools/study.py in'),
    ],
)
def test_how_it_is_not_started(words, variables, message, start):
    process = start(*words, SLURM_SUBMIT_DIR='/home', **variables)
    assert message in process.communicate(timeout=30)[0]
    assert process.returncode == 2
