"""Running a study: stopped, failed, changed, shared and checked beforehand."""

import errno
import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from helpers.malicious import CreatesAFile
from helpers.tiny_studies import STUDY, read
from helpers.waiting import until
from mmengine.config import Config

from mmanchor.studies import run as run_module
from mmanchor.studies.cells import CellStore, Training, all_cells
from mmanchor.studies.run import _CHECKS, check_trainable, check_unchanged
from mmanchor.studies.spec import load_study
from mmanchor.utils.locks import lock

ROOT = Path(__file__).parents[2]
NOISE = dict(type='SymmetricLabelNoise', rate=0.5)
PIPELINE = 'train_dataloader.dataset.pipeline'
LR = 'optim_wrapper.optimizer.lr'
STANDARD, MASKED = STUDY['settings'][:2]


def without_times(path) -> str:
    """A results file but for times, byte by byte."""
    text = path.read_text()
    body = json.dumps(dict(times=json.loads(text)['times']), indent=1)[2:-2]
    assert text.count(body) == 1
    return text.replace(body, '')


@pytest.mark.slow
def test_killed_and_started_again_it_is_the_same_but_for_times(
    study, study_file, words, tmp_path
):
    longer = dict(settings=[STANDARD, MASKED], seeds=[0])
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


def test_changed_cells_are_refused_or_repeated_knowingly(finished, tmp_path):
    work = finished.copy(tmp_path, 'cells', 'trained')
    before = {
        path: path.stat().st_mtime_ns for path in (work / 'cells').iterdir()
    }
    changes = dict(
        settings=[STANDARD, dict(MASKED, options={LR: 0.05})], seeds=[0]
    )
    with pytest.raises(
        ValueError,
        match=r'1 of 2 are not. masked, seed 0: '
        r'training.config.optim_wrapper.optimizer.lr: 0.1 then, 0.05 now. '
        'Name another folder with --work-dir, or add `--redo changed`',
    ):
        finished.run(work_dir=work, **changes)
    assert finished.run('--redo', 'changed', work_dir=work, **changes) == 0
    changed = [
        path.name
        for path, time in before.items()
        if path.stat().st_mtime_ns != time
    ]
    assert changed == ['masked_seed0.json']


def test_started_cells_are_not_mixed_with_others_and_failed_ones_may_be(
    finished, tmp_path
):
    (cell,) = finished.cells(settings=[STANDARD], seeds=[0])
    changed = finished.cells(
        settings=[dict(STANDARD, options={LR: 1.0})], seeds=[0]
    )
    store = CellStore(tmp_path)
    store.write(cell, 'started')
    with pytest.raises(
        ValueError, match='standard, seed 0: .*.lr: 0.1 then, 1.0'
    ):
        check_unchanged(changed, store)
    store.write(cell, 'failed')
    check_unchanged(changed, store)


@pytest.fixture(scope='module')
def troubled(finished, tmp_path_factory):
    """A study of two settings that fail and one that lacks a test set."""
    folder = tmp_path_factory.mktemp('troubled')
    work = finished.copy(folder / 'work', 'trained')
    settings = [
        dict(
            name='diverging',
            method='standard',
            options={LR: 1e30, 'train_cfg.max_epochs': 1},
        ),
        dict(MASKED, options={LR: 1e30}),
        STANDARD,
    ]
    status = finished.run(
        work_dir=work,
        data_root=folder / 'no_data',
        settings=settings,
        seeds=[0],
    )
    return SimpleNamespace(
        work=work, folder=folder, status=status, printed=finished.printed
    )


def test_a_failed_cell_is_reported_and_does_not_stop_the_others(troubled):
    assert troubled.status == 1
    cell = read(troubled.work / 'cells/masked_seed0.json')
    reason = 'ValueError: Expected finite weights'
    assert cell['state'] == 'failed' and reason in cell['failed'][0]['reason']
    done = read(troubled.work / 'cells/standard_seed0.json')
    assert done['state'] == 'done'
    missing = {
        one['cells'][0]: one['reason']
        for one in read(troubled.work / 'results.json')['missing']
    }
    assert reason in missing['masked, seed 0']
    printed = troubled.printed.replace('\n', ' ')
    assert 'Failed: masked, seed 0' in printed
    assert reason.split()[-1] in (troubled.work / 'report.md').read_text()
    trace = (troubled.work / 'tracebacks/diverging_seed0.txt').read_text()
    assert trace.startswith('Traceback')
    assert 'Expected a finite loss' in trace


def test_cells_name_no_folder_of_the_machine(troubled):
    paths = list((troubled.work / 'cells').iterdir())
    assert len(paths) == 3
    for path in paths:
        text = path.read_text()
        assert str(troubled.folder) not in text and '/root' not in text
        assert '"/' not in text and ' /' not in text
        assert path.stat().st_size < 25_000
    cell = read(troubled.work / 'cells/standard_seed0.json')
    assert 'data/arrays' in cell['missing'][0]['reason']


def test_missing_sets_are_named_and_measured_once_they_exist(
    troubled, finished
):
    assert 'missing: Arrays: standard, seed 0. ' in troubled.printed
    # the mended cell is run without a question: it had no figures to mix
    mended = dict(
        work_dir=troubled.work, settings=[MASKED, STANDARD], seeds=[0]
    )
    assert finished.run('--list', **mended) == 0
    assert 'done, sets missing' in finished.printed
    assert finished.run('--redo', 'missing', **mended) == 0
    results = read(troubled.work / 'results.json')
    assert not results['missing']
    assert 'corrupted' in results['settings'][1]['mean']


def test_a_missing_clean_set_ends_a_study_before_it_trains(
    finished, tmp_path, monkeypatch
):
    def build(cell):
        raise FileNotFoundError('no such folder')

    monkeypatch.setattr('mmanchor.suite.images._build', build)
    with pytest.raises(FileNotFoundError, match='clean .*--data-root'):
        finished.run('--seeds', 0, '--only', 'standard', work_dir=tmp_path)
    assert not (tmp_path / 'trained').exists()


def test_code_in_a_trained_checkpoint_is_not_run(finished, tmp_path):
    key = finished.cells()[0].training.key
    work = finished.copy(tmp_path, f'trained/{key}')
    path = work / f'trained/{key}/epoch_2.pth'
    saved = torch.load(path, weights_only=False)
    saved['meta']['more'] = CreatesAFile(tmp_path / 'created')
    torch.save(saved, path)
    only = ('--only', 'standard', '--seeds', 0)
    assert finished.run(*only, work_dir=work) == 1
    assert 'can run code' in ' '.join(finished.printed.split())
    assert not (tmp_path / 'created').exists()


def test_epochs_are_timed_by_a_clock_that_waits_for_a_gpu(
    tmp_path, monkeypatch
):
    assert run_module.timer is torch.utils.benchmark.timer
    clock = iter([10.0, 17.5])
    monkeypatch.setattr(run_module, 'timer', lambda: next(clock))
    hook = run_module._EpochTimer(tmp_path)
    runner = SimpleNamespace(iter=0, rank=0)
    hook.before_train_epoch(runner)
    hook.after_train_epoch(runner)
    assert hook.seconds == 7.5


def test_all_settings_of_a_seed_come_before_the_next_seed(finished, tmp_path):
    """And an interrupted training counts the seconds of all its epochs."""
    work = finished.copy(tmp_path, 'trained')
    cells = finished.cells(settings=[STANDARD, MASKED])
    last = cells[-1].training.folder(work)
    shutil.rmtree(last)
    last.mkdir()
    (last / 'seconds.json').write_text('{"-4": 1000.0}')
    grid = dict(work_dir=work, settings=[STANDARD, MASKED])
    assert finished.run('--train-only', **grid) == 0
    assert re.findall(r'^\d of 4: (.*)$', finished.printed, re.M) == [
        'standard, seed 0',
        'masked, seed 0',
        'standard, seed 1',
        'masked, seed 1',
    ]
    # nothing is written that depends on the suite, which may still change
    assert not (work / 'cells').exists()
    assert not (work / 'report.md').exists()
    assert set(read(last / 'seconds.json')) == {'-4', '0', '4'}
    assert 1000 < cells[-1].training.seconds(work) < 1100
    assert finished.run('--list', **grid) == 0
    assert re.findall(r'(\d)  (.*): trained', finished.printed) == [
        ('0', 'standard, seed 0'),
        ('1', 'standard, seed 1'),
        ('2', 'masked, seed 0'),
        ('3', 'masked, seed 1'),
    ]


def test_a_warm_start_takes_the_weights_of_the_same_seed(finished, tmp_path):
    settings = [
        dict(name='warm', method='masked', start='standard'),
        STANDARD,
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
    grid = dict(settings=settings, seeds=[0])
    cells = {cell.setting.name: cell for cell in finished.cells(**grid)}
    key = cells['standard'].training.key
    work = finished.copy(tmp_path, f'trained/{key}')
    assert finished.run('--train-only', work_dir=work, **grid) == 0
    assert len(list((work / 'trained').iterdir())) == 4
    starts = {
        name: Config.fromfile(
            cells[name].training.folder(work) / 'config.py'
        ).load_from
        for name in ('warm', 'probe')
    }
    assert starts['warm'] == str(work / f'trained/{key}/epoch_2.pth')
    before, after = (
        torch.load(path, weights_only=False)['state_dict']
        for path in (
            starts['probe'],
            cells['probe'].training.checkpoint(work),
        )
    )
    assert torch.equal(
        before['backbone.conv1.weight'], after['backbone.conv1.weight']
    )
    assert before['head.fc.weight'].shape == (12, 64)
    assert after['head.fc.weight'].shape == (10, 64)


def test_settings_that_differ_at_test_share_one_model(finished):
    assert len(list((finished.work / 'trained').iterdir())) == 4
    one, two = (
        read(finished.work / f'cells/masked{k}_seed0.json')
        for k in ('', '-k-2')
    )
    assert one['weights'] == two['weights']
    spreads = [
        cell['model']['clean']['figures']['spread'] for cell in (one, two)
    ]
    assert spreads[0] == 0 < spreads[1]


# several processes


def test_two_processes_do_not_run_the_same_cell(finished, tmp_path):
    work = finished.copy(tmp_path, 'trained')
    grid = dict(work_dir=work, settings=[STANDARD, MASKED], seeds=[0])
    with lock(work / 'locks/standard_seed0') as is_ours:
        assert is_ours
        assert finished.run('--list', **grid) == 0
        assert 'standard, seed 0: running' in finished.printed
        assert finished.run(**grid) == 0
        assert 'standard, seed 0: another process' in finished.printed
    names = [path.name for path in (work / 'cells').iterdir()]
    assert names == ['masked_seed0.json']
    assert finished.run('--list', **grid) == 0
    assert 'standard, seed 0: trained' in finished.printed
    assert 'masked, seed 0: done' in finished.printed


def test_a_file_system_without_locks_is_named(finished, tmp_path, monkeypatch):
    def flock(*_):
        raise OSError(errno.ENOSYS, 'Function not implemented')

    monkeypatch.setattr(fcntl, 'flock', flock)
    with pytest.raises(ValueError, match='locks .flock.*Function not impl'):
        finished.run('--only', 'standard', '--seeds', 0, work_dir=tmp_path)


def test_a_model_that_another_process_trains_is_left_for_last(
    finished, tmp_path
):
    work = finished.copy(tmp_path, 'trained')
    grid = dict(settings=[STANDARD, MASKED], seeds=[0])
    path = work / f'locks/training-{finished.cells()[0].training.key}'
    cells = work / 'cells'
    is_held = threading.Event()

    def hold():  # until the other cell is done
        with lock(path) as is_ours:
            assert is_ours
            is_held.set()
            until(
                lambda: (
                    (cells / 'masked_seed0.json').exists()
                    and read(cells / 'masked_seed0.json')['state'] == 'done'
                )
            )

    thread = threading.Thread(target=hold)
    thread.start()
    assert is_held.wait(10)
    assert finished.run(work_dir=work, **grid) == 0
    thread.join()
    times = [
        (cells / f'{name}_seed0.json').stat().st_mtime_ns
        for name in ('masked', 'standard')
    ]
    assert times == sorted(times)
    assert read(cells / 'standard_seed0.json')['state'] == 'done'


# checks before training


def options(**changes):
    """Options of a setting; two underscores stand for a dot."""
    return {
        'options': {
            key.replace('__', '.'): value for key, value in changes.items()
        }
    }


@pytest.mark.parametrize(
    'change,message',
    [
        (
            options(data_preprocessor__mask_porb=0.5),
            'data_preprocessor`.*mask_por',
        ),
        (options(data_preprocessor__mask_prob=5), r'\[0, 1\], but got 5'),
        (options(model__backbon__depth=18), "Did you mean 'backbone'"),
        (options(model__backbone__depht=18), "`model`.*'depht'"),
        (options(model__head__loss=dict(type='No')), '`model`.*No is not in'),
        (options(optim_wrapper__optimizer__lrr=0.1), "optim_wrapper`.*'lrr'"),
        (options(param_scheduler__1__bigin=3), "param_scheduler`.*'bigin'"),
        (
            options(train_cfg__max_epoch=3),
            "`train_cfg`: .* EpochBasedTrainLoop .*Did you mean 'max_epochs'",
        ),
        (options(default_hooks__timer__x=3), 'IterTimerHook .* but got x'),
        (options(train_dataloader__batchsize=3), "Did you mean 'batch_size'"),
        (
            options(train_dataloader__sampler__shufle=3),
            "Did you mean 'shuffle'",
        ),
        (
            options(train_dataloader__dataset__splt=3),
            "Digits .*Did you mean 'split'",
        ),
        (
            {'options': {PIPELINE: [dict(type='Resize', scal=3)]}},
            "Resize to be .*Did you mean 'scale'",
        ),
        (
            dict(wrap_dataset=dict(NOISE, rate=1.5)),
            r'in \[0, 1\], but got 1.5',
        ),
        (dict(wrap_dataset=dict(NOISE, rat=0.5)), "Did you mean 'rate'"),
        (
            dict(
                start=dict(method='anchored', options={'train_cfg.epochs': 3})
            ),
            "got epochs. Did you mean 'max_epochs'",
        ),
    ],
)
def test_mistakes_in_a_config_are_found_before_training(
    change, message, study_file
):
    odd = dict(name='odd', method='masked', **change)
    with pytest.raises(ValueError, match=f'(?s)Expected .*odd.*{message}'):
        check_trainable(
            [
                cell.training
                for cell in all_cells(
                    load_study(study_file(settings=[odd], seeds=[0]))
                )
            ],
            'data',
        )


def test_nothing_is_trained_if_one_setting_is_wrong(finished, tmp_path):
    odd = dict(MASKED, options={'data_preprocessor.mask_porb': 0.5})
    with pytest.raises(ValueError, match='Nothing was trained'):
        finished.run(work_dir=tmp_path, settings=[STANDARD, odd])
    assert not list(tmp_path.rglob('*.pth'))


def test_equal_parts_of_configs_are_checked_once(study_file, monkeypatch):
    built = []
    monkeypatch.setitem(
        _CHECKS,
        ('model', 'optim_wrapper', 'param_scheduler'),
        lambda **parts: built.append(parts),
    )
    cells = all_cells(load_study(study_file()))
    check_trainable([cell.training for cell in cells], 'data')
    assert len(built) == 2  # standard and masked


def test_missing_data_is_left_for_training_to_report(tmp_path):
    study = load_study('label_noise', on='cifar10-folders', seeds=[0])
    trainings = [one.training for one in all_cells(study)]
    check_trainable(trainings, str(tmp_path))  # MMPretrain makes folders


def test_mixed_precision_may_be_left_to_another_machine(monkeypatch):
    monkeypatch.setattr(
        'mmengine.optim.optimizer.amp_optimizer_wrapper.is_cuda_available',
        lambda: False,
    )
    study = load_study('evidence', 'cifar10-folders-30e', [0])
    trainings = [one.training for one in all_cells(study)[:1]]
    with pytest.raises(ValueError, match='only available training on gpu'):
        check_trainable(trainings, 'nowhere')
    check_trainable(trainings, 'nowhere', here=False)
    trainings[0].cfg.optim_wrapper.optimizer.lrr = 0.1
    with pytest.raises(ValueError, match="`optim_wrapper`.*'lrr'"):
        check_trainable(trainings, 'nowhere', here=False)
    trainings[0].cfg.optim_wrapper.dtpye = 'bfloat16'
    with pytest.raises(ValueError, match="AmpOptim.*Did you mean 'dtype'"):
        check_trainable(trainings, 'nowhere', here=False)


def test_a_config_may_lack_what_has_a_default(study_file):
    cell = all_cells(load_study(study_file()))[0]
    cfg = Config(cell.training.cfg.to_dict())
    for name in ('data_preprocessor', 'param_scheduler', 'default_hooks'):
        cfg.pop(name)
    check_trainable([Training('bare', cfg, 'config.py')], 'data')
