"""References and protocols chosen by flags of `tools/test.py`."""

import pickle

import pytest
import torch
from helpers.reference_runs import TEST_PIPELINE, bank, hook, training_images
from mmcv import imwrite

from mmanchor.engine import launch


@pytest.fixture
def config_file(small_config, tmp_path):
    cfg = small_config(**hook(num_references=3))
    cfg.work_dir = cfg.experiment_name = None
    for name in launch.LOADERS:
        del cfg[name].persistent_workers
    cfg.dump(tmp_path / 'small.py')
    return str(tmp_path / 'small.py')


@pytest.fixture
def predict(config_file, checkpoint, tmp_path):
    """The metrics and predictions of a test with some flags."""

    def run(*flags, config=config_file):
        out = tmp_path / 'out.pkl'
        files = ['--out', str(out), '--work-dir', str(tmp_path / 'w')]
        metrics = launch.test([config, checkpoint, *files, *flags])
        return metrics, pickle.loads(out.read_bytes())

    return run


def runners_of(monkeypatch):
    """The runners that the command line builds from now on."""
    runners, build = [], launch.build_runner
    monkeypatch.setattr(
        launch,
        'build_runner',
        lambda cfg: runners.append(build(cfg)) or runners[-1],
    )
    return runners


def test_the_mean_used_is_that_of_the_predictions(predict):
    adaptive = ['--protocol', 'adaptive', '--num-references', '9']
    metrics, samples = predict(*adaptive)
    used = [sample['num_references'] for sample in samples]
    assert metrics['references/mean_used'] == sum(used) / len(used)
    assert 2 <= min(used) and max(used) <= 9


@pytest.mark.parametrize(
    'protocol,k,more',
    [
        ('single', 1, []),
        ('mean', 3, []),
        ('transduction', 1, ['--num-candidates', '20']),
    ],
)
def test_protocols_from_the_command_line(predict, protocol, k, more):
    metrics, samples = predict('--protocol', protocol, *more)
    assert {sample['num_references'] for sample in samples} == {k}
    assert (max(sample['pred_std'].max() for sample in samples) > 0) == (k > 1)
    assert 0 <= metrics['accuracy/top1'] <= 100


def test_measures_of_uncertainty_from_the_command_line(predict):
    _, samples = predict('--uncertainty', 'all')
    assert {'mutual_information', 'softmax_std', 'energy'} <= set(samples[0])
    _, samples = predict('--uncertainty', 'energy', 'anchor_score')
    assert {'energy', 'anchor_score'} <= set(samples[0])
    assert 'softmax_std' not in samples[0]


def test_the_mean_of_the_set_from_the_command_line(predict, monkeypatch):
    runners = runners_of(monkeypatch)
    predict('--protocol', 'single', '--select', 'mean')
    assert torch.equal(bank(runners[0]).in_use, training_images(1, 'mean'))


def test_a_public_folder_from_the_command_line(
    small_config, predict, tmp_path, monkeypatch
):
    images = training_images(4)
    for i, image in enumerate(images):
        for name in ('public/{}.png', 'test/a/{}.png', 'test/b/{}.png'):
            path = str(tmp_path / name.format(i))
            imwrite(image.permute(1, 2, 0).numpy(), path)
    cfg = small_config(**hook(num_references=4))
    cfg.work_dir = cfg.experiment_name = None
    cfg.val_dataloader.dataset = cfg.test_dataloader.dataset = dict(
        type='CustomDataset',
        data_root=str(tmp_path / 'test'),
        pipeline=[dict(type='LoadImageFromFile'), *TEST_PIPELINE],
    )
    config = str(tmp_path / 'files.py')
    cfg.dump(config)
    runners = runners_of(monkeypatch)
    predict('--source', str(tmp_path / 'public'), config=config)
    assert {image.sum().item() for image in bank(runners[0]).in_use} == {
        image.sum().item() for image in images
    }


def test_arguments_of_the_config_s_protocol_stay(
    small_config, checkpoint, tmp_path, monkeypatch
):
    path = tmp_path / 'transduction.py'
    protocol = dict(type='transduction', num_residuals=6)
    small_config(**hook(protocol=protocol)).dump(path)

    class Stop(Exception):
        pass

    def hook_of(*argv):

        def keep(cfg):
            Stop.hook = cfg.custom_hooks[0]
            raise Stop

        monkeypatch.setattr(launch, 'build_runner', keep)
        with pytest.raises(Stop):
            launch.test([str(path), checkpoint, *argv])
        return Stop.hook

    assert hook_of('--num-candidates', '4').protocol == dict(
        type='transduction', num_residuals=6, num_candidates=4
    )
    assert hook_of('--protocol', 'adaptive').protocol == dict(type='adaptive')


def test_flags_that_do_not_fit(config_file, checkpoint):
    with pytest.raises(ValueError, match="'transduction', but got 'mean'. Ad"):
        launch.test([config_file, checkpoint, '--num-candidates', '4'])
    common = [config_file, checkpoint, '--num-references', '7', '--protocol']
    with pytest.raises(
        ValueError,
        match='which needs 50, but got 7. Drop it, or use --num-cand',
    ):
        launch.test([*common, 'transduction'])
    with pytest.raises(ValueError, match='which needs 1, but got 7. Drop it.'):
        launch.test([*common, 'single'])
    with pytest.raises(ValueError, match='positive integer, but got 0'):
        launch.test([*common[:2], '--num-references', '0'])
    with pytest.raises(ValueError, match='--uncertainty without --tta.*Drop'):
        launch.test([*common[:2], '--uncertainty', 'all', '--tta'])
    no_hook = ['--protocol', 'mean', '--cfg-options', 'custom_hooks=[]']
    with pytest.raises(ValueError, match='for --protocol to change, but ther'):
        launch.test([*common[:2], *no_hook])


def test_test_time_augmentation_leaves_the_mean_used_out(predict):
    metrics, _ = predict('--tta', '--protocol', 'adaptive')
    assert 0 <= metrics['accuracy/top1'] <= 100
    assert 'references/mean_used' not in metrics
