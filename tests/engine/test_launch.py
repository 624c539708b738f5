import gc
import json
import multiprocessing
import pickle

import pytest
import torch
from helpers.runs import config_maker
from mmengine.config import Config
from mmengine.registry import init_default_scope

from mmanchor.checkpoints import verification as checkpoint_checks
from mmanchor.engine import launch


def write_config(cfg, path):
    """Write a config that leaves what the tools set to them."""
    cfg.work_dir = cfg.experiment_name = None
    for name in launch.LOADERS:
        del cfg[name].persistent_workers
    cfg.dump(path)
    return str(path)


@pytest.fixture(scope='module')
def trained_config(tmp_path_factory):
    """A config, and the checkpoint of a training from it."""
    folder = tmp_path_factory.mktemp('launch')
    cfg = config_maker(folder)(epochs=1, validate_every=1)
    config = write_config(cfg, folder / 'small.py')
    init_default_scope('mmpretrain')
    launch.train([config, '--work-dir', str(folder / 'trained')])
    return config, str(folder / 'trained/epoch_1.pth')


@pytest.fixture
def config_file(trained_config):
    return trained_config[0]


@pytest.fixture
def trained(trained_config):
    return trained_config[1]


def parsed(monkeypatch, argv, main=launch.train):
    """The config a command line leads to, without running it."""

    class Stop(Exception):
        pass

    def keep(cfg):
        Stop.cfg = cfg
        raise Stop

    monkeypatch.setattr(launch, 'build_runner', keep)
    with pytest.raises(Stop):
        main(argv)
    return Stop.cfg


def test_train_flags(monkeypatch, config_file, tmp_path):
    argv = (
        f'{config_file} --work-dir {tmp_path}/w --amp --no-validate '
        '--auto-scale-lr --no-pin-memory --launcher pytorch --cfg-options '
        'optim_wrapper.optimizer.lr=0.5 train_dataloader.num_workers=2'
    )
    cfg = parsed(monkeypatch, argv.split())
    assert cfg.work_dir == str(tmp_path / 'w')
    assert cfg.optim_wrapper.type == 'AmpOptimWrapper'
    assert cfg.optim_wrapper.loss_scale == 'dynamic'
    assert cfg.optim_wrapper.optimizer.lr == 0.5
    assert cfg.val_dataloader is None
    assert cfg.auto_scale_lr.enable
    assert cfg.train_dataloader.pin_memory is False
    assert cfg.train_dataloader.collate_fn.type == 'default_collate'
    assert cfg.launcher == 'pytorch'
    assert cfg.resume is False


def test_persistent_workers(monkeypatch, config_file):
    workers = ['--cfg-options', 'train_dataloader.num_workers=2']
    cfg = parsed(monkeypatch, [config_file, *workers])
    assert cfg.work_dir == 'work_dirs/small'
    assert cfg.train_dataloader.persistent_workers is True
    assert cfg.val_dataloader.persistent_workers is False  # no worker
    cfg = parsed(
        monkeypatch, [config_file, *workers, '--no-persistent-workers']
    )
    assert cfg.train_dataloader.persistent_workers is False


def test_no_worker_outlives_a_run_in_a_longer_process(config_file, tmp_path):
    before = set(multiprocessing.active_children())
    options = '--no-validate --cfg-options train_dataloader.num_workers=1'
    work_dir = ['--work-dir', str(tmp_path / 'trained')]
    launch.train([config_file, *work_dir, *options.split()])
    gc.collect()
    assert not set(multiprocessing.active_children()) - before


def test_resume_flags(monkeypatch, config_file, trained):
    auto = parsed(monkeypatch, [config_file, '--resume'])
    assert auto.resume and auto.load_from is None
    named = parsed(monkeypatch, [config_file, '--resume', trained])
    assert named.resume and named.load_from == trained


def test_test_writes_metrics_and_predictions(config_file, trained, tmp_path):
    common = [config_file, trained, '--work-dir', str(tmp_path / 'w')]
    metrics = tmp_path / 'metrics.json'
    launch.test([*common, '--out', str(metrics), '--out-item', 'metrics'])
    assert 0 <= json.loads(metrics.read_text())['accuracy/top1'] <= 100
    predictions = tmp_path / 'pred.pkl'
    launch.test([*common, '--out', str(predictions), '--num-references', '3'])
    samples = pickle.loads(predictions.read_bytes())
    assert len(samples) == 40
    assert {'pred_score', 'pred_label', 'pred_logits', 'pred_std'} <= set(
        samples[0]
    )
    assert samples[0]['pred_std'].max() > 0
    assert not [*tmp_path.glob('*partial*')]


def test_only_the_main_process_writes_metrics(
    monkeypatch, config_file, trained, tmp_path
):
    monkeypatch.setattr(launch, 'is_main_process', lambda: False)
    out = tmp_path / 'metrics.json'
    metrics = ['--out', str(out), '--out-item', 'metrics']
    work_dir = ['--work-dir', str(tmp_path / 'w')]
    launch.test([config_file, trained, *work_dir, *metrics])
    assert not out.exists()


def test_out_is_checked_before_the_test(config_file, tmp_path, capsys):
    common = [config_file, 'x.pth', '--out']
    metrics = ['--out-item', 'metrics']
    (tmp_path / 'file').touch()
    with pytest.raises(
        ValueError,
        match='Expected a folder of m.json that can be written to, but '
        'got .*file: .*Name another with `--out`',
    ):
        launch.test([*common, f'{tmp_path}/file/m.json', *metrics])
    for arguments, message in (
        (['m.txt', *metrics], 'end in .json, .yaml or .pkl, but got m.txt'),
        (['pred.json'], 'has to end in .pkl, but got pred.json'),
    ):
        with pytest.raises(SystemExit):
            launch.test([*common, *arguments])
        assert message in capsys.readouterr().err


def test_num_references_finds_a_hook_given_as_class(
    monkeypatch, config_file, trained
):
    kind = type('KReferenceHook', (), {})
    cfg = Config(dict(custom_hooks=[dict(type=kind, num_references=1)]))
    monkeypatch.setattr(launch, '_load_config', lambda args: cfg)
    flags = [config_file, trained, '--num-references', '7']
    cfg = parsed(monkeypatch, flags, launch.test)
    assert cfg.custom_hooks[0].num_references == 7


def test_amp_leaves_other_wrappers_alone(config_file):
    with pytest.raises(ValueError, match='but got Mine. Drop --amp'):
        launch.train(
            [config_file, '--amp', '--cfg-options', 'optim_wrapper.type=Mine']
        )


def test_half_an_anchored_config_is_refused_before_training(
    config_file, tmp_path
):
    options = ['--work-dir', str(tmp_path), '--cfg-options', 'custom_hooks=[]']
    with pytest.raises(ValueError, match='`KReferenceHook` in.*Add'):
        launch.train([config_file, *options])
    with pytest.raises(TypeError, match='AnchoredImageClassifier.*but got Im'):
        launch.train([config_file, *options, 'model.type=ImageClassifier'])


def spoiled(path, tmp_path, change):
    saved = torch.load(path, weights_only=False)
    change(saved)
    torch.save(saved, tmp_path / 'spoiled.pth')
    return str(tmp_path / 'spoiled.pth')


def without_head(saved):
    del saved['state_dict']['head.fc.weight']


def other_classes(saved):
    for name in ('weight', 'bias'):
        weights = saved['state_dict']
        weights[f'head.fc.{name}'] = weights[f'head.fc.{name}'][:7]


def last_stage_of_another_name(saved):
    saved['state_dict'] = {
        name.replace('layer4', 'stage4'): weight
        for name, weight in saved['state_dict'].items()
    }


@pytest.mark.parametrize(
    'change,what,flags',
    [
        (without_head, 'differs in 1: head.fc.weight', []),
        (without_head, 'differs in 1: head.fc.weight', ['--tta']),
        (other_classes, 'in 2: size mismatch for head.fc.weight', []),
        (last_stage_of_another_name, 'backbone.layer4', []),
    ],
)
def test_a_random_part_is_not_tested(
    config_file, trained, tmp_path, change, what, flags
):
    path = spoiled(trained, tmp_path, change)
    with pytest.raises(
        ValueError, match=f"Expected the weights of the config's model.*{what}"
    ):
        launch.test([config_file, path, *flags])


def test_classes_in_another_order_are_not_tested(
    config_file, trained, tmp_path
):

    def reverse(saved):
        meta = saved['meta']['dataset_meta']
        meta['classes'] = meta['classes'][::-1]

    path = spoiled(trained, tmp_path, reverse)
    with pytest.raises(
        ValueError,
        match='classes of the test set in the order of .*'
        "spoiled.pth, but class 0 is '9.*' there and '0.*' in the test",
    ):
        launch.test([config_file, path])

    def rename(saved):  # nothing says which is which
        meta = saved['meta']['dataset_meta']
        meta['classes'] = [f'n{name}' for name in meta['classes'][::-1]]

    launch.test([config_file, spoiled(trained, tmp_path, rename)])


@pytest.mark.parametrize('keep', [0, 1000, 0.5, 0.999])
def test_a_truncated_checkpoint_is_refused_before_anything_runs(
    config_file, trained, keep, tmp_path
):
    whole = open(trained, 'rb').read()
    size = keep if isinstance(keep, int) else int(keep * len(whole))
    short = tmp_path / 'epoch_7.pth'
    short.write_bytes(whole[:size])
    message = rf'whole checkpoint, but .*epoch_7.pth \({size} bytes\)'
    with pytest.raises(ValueError, match=message):
        launch.test([config_file, str(short)])
    with pytest.raises(ValueError, match=message):
        launch.train([config_file, '--resume', str(short)])
    work_dir = tmp_path / 'w'
    work_dir.mkdir()
    (work_dir / 'last_checkpoint').write_text(str(short))
    with pytest.raises(ValueError, match=message):
        launch.train([config_file, '--resume', '--work-dir', str(work_dir)])


def test_legacy_and_remote_checkpoints_are_not_refused(tmp_path):
    torch.save({}, tmp_path / 'old.pth', _use_new_zipfile_serialization=False)
    checkpoint_checks.check_checkpoint(str(tmp_path / 'old.pth'))
    checkpoint_checks.check_checkpoint('https://example.org/model.pth')


def test_a_missing_checkpoint(config_file):
    with pytest.raises(
        FileNotFoundError, match='none at nowhere.pth. Change the path'
    ):
        launch.test([config_file, 'nowhere.pth'])


def test_a_work_dir_that_cannot_be_written_to(config_file, tmp_path):
    (tmp_path / 'file').touch()
    with pytest.raises(
        ValueError,
        match='work dir that can be written to.*Not a directory.*`--work-dir`',
    ):
        launch.train(
            [config_file, '--work-dir', str(tmp_path / 'file' / 'work')]
        )


def test_a_config_without_data_preprocessor(small_config, tmp_path):
    cfg = small_config()
    cfg.pop('data_preprocessor')
    cfg.train_cfg.max_epochs = cfg.train_cfg.val_interval = 1
    cfg.dump(tmp_path / 'bare.py')
    launch.train([str(tmp_path / 'bare.py')])
    saved = torch.load(tmp_path / 'work/epoch_1.pth', weights_only=False)
    weights = saved['state_dict']
    assert 'data_preprocessor.mean' not in weights
    assert len(weights['reference_bank.images']) == 10
    assert weights['data_preprocessor.iteration'] == 4  # it anchored
