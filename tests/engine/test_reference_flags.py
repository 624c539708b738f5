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


def predictions(tmp_path, *argv):
    out = tmp_path / 'out.pkl'
    metrics = launch.test(
        [
            *argv,
            '--out',
            str(out),
            '--work-dir',
            str(tmp_path / 'w'),
            '--cfg-options',
            'log_level=ERROR',
        ]
    )
    return metrics, pickle.loads(out.read_bytes())


def runners_of(monkeypatch):
    """The runners that the command line builds from now on."""
    runners, build = [], launch.build_runner
    monkeypatch.setattr(
        launch,
        'build_runner',
        lambda cfg: runners.append(build(cfg)) or runners[-1],
    )
    return runners


def test_the_mean_used_is_that_of_the_predictions(
    config_file, checkpoint, tmp_path
):
    metrics, samples = predictions(
        tmp_path,
        config_file,
        checkpoint,
        '--protocol',
        'adaptive',
        '--num-references',
        '9',
    )
    used = [sample['num_references'] for sample in samples]
    assert metrics['references/mean_used'] == sum(used) / len(used)
    assert 2 <= min(used) and max(used) <= 9


@pytest.mark.parametrize('protocol,k', [('single', 1), ('mean', 3)])
def test_protocols_from_the_command_line(
    config_file, checkpoint, tmp_path, protocol, k
):
    _, samples = predictions(
        tmp_path, config_file, checkpoint, '--protocol', protocol
    )
    assert {sample['num_references'] for sample in samples} == {k}
    assert (max(sample['pred_std'].max() for sample in samples) > 0) == (k > 1)


def test_transduction_from_the_command_line(config_file, checkpoint, tmp_path):
    metrics, samples = predictions(
        tmp_path,
        config_file,
        checkpoint,
        '--protocol',
        'transduction',
        '--num-candidates',
        '20',
    )
    assert {sample['num_references'] for sample in samples} == {1}
    assert 0 <= metrics['accuracy/top1'] <= 100


def test_measures_of_uncertainty_from_the_command_line(
    config_file, checkpoint, tmp_path
):
    common = (config_file, checkpoint)
    _, samples = predictions(tmp_path, *common, '--uncertainty', 'all')
    assert {'mutual_information', 'softmax_std', 'energy'} <= set(samples[0])
    _, samples = predictions(
        tmp_path, *common, '--uncertainty', 'energy', 'anchor_score'
    )
    assert {'energy', 'anchor_score'} <= set(samples[0])
    assert 'softmax_std' not in samples[0]


def test_the_mean_of_the_set_from_the_command_line(
    config_file, checkpoint, tmp_path, monkeypatch
):
    runners = runners_of(monkeypatch)
    predictions(
        tmp_path,
        config_file,
        checkpoint,
        '--protocol',
        'single',
        '--select',
        'mean',
    )
    assert torch.equal(bank(runners[0]).in_use, training_images(1, 'mean'))


def test_a_public_folder_from_the_command_line(
    small_config, checkpoint, tmp_path, monkeypatch
):
    for i, image in enumerate(training_images(4)):
        for name in ('public/{}.png', 'test/a/{}.png', 'test/b/{}.png'):
            imwrite(
                image.permute(1, 2, 0).numpy(), str(tmp_path / name.format(i))
            )
    cfg = small_config(**hook(num_references=4))
    cfg.work_dir = cfg.experiment_name = None
    cfg.val_dataloader.dataset = cfg.test_dataloader.dataset = dict(
        type='CustomDataset',
        data_root=str(tmp_path / 'test'),
        pipeline=[dict(type='LoadImageFromFile'), *TEST_PIPELINE],
    )
    cfg.dump(tmp_path / 'files.py')
    runners = runners_of(monkeypatch)
    predictions(
        tmp_path,
        str(tmp_path / 'files.py'),
        checkpoint,
        '--source',
        str(tmp_path / 'public'),
    )
    assert sorted(
        image.sum().item() for image in bank(runners[0]).in_use
    ) == sorted(image.sum().item() for image in training_images(4))


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
    with pytest.raises(ValueError, match='for --protocol to change, but ther'):
        launch.test(
            [
                config_file,
                checkpoint,
                '--protocol',
                'mean',
                '--cfg-options',
                'custom_hooks=[]',
            ]
        )


def test_test_time_augmentation_leaves_the_mean_used_out(
    config_file, checkpoint, tmp_path
):
    metrics, samples = predictions(
        tmp_path, config_file, checkpoint, '--tta', '--protocol', 'adaptive'
    )
    assert 0 <= metrics['accuracy/top1'] <= 100
    assert 'references/mean_used' not in metrics
