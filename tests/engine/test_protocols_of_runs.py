"""Protocols chosen on `KReferenceHook` or from the command line."""

import pickle

import pytest
import torch
from helpers.reference_runs import (
    TEST_PIPELINE,
    after_test,
    bank,
    hook,
    training_images,
)
from mmcv import imwrite

from mmanchor.datasets import draw_pairs
from mmanchor.engine import KReferenceHook, launch

SMALL = dict(type='transduction', num_candidates=3, num_residuals=6)
NO_TRAINING_SET = dict.fromkeys(
    ('train_dataloader', 'train_cfg', 'optim_wrapper', 'param_scheduler')
)


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


def test_a_training_with_transduction_keeps_candidates_and_residuals(
    run, tmp_path
):
    runner = run(
        **{'train_cfg.max_epochs': 1, 'train_cfg.val_interval': 1},
        **hook(protocol=SMALL),
    )
    runner.train()
    assert runner.model.protocol.name == 'transduction'
    saved = torch.load(tmp_path / 'work/epoch_1.pth', weights_only=False)
    pairs = saved['state_dict']['reference_bank.residual_pairs']
    assert pairs.shape == (6, 2, 3, 16, 16) and pairs.dtype == torch.uint8
    known = training_images(50)
    where = (pairs[:, :, None] == known).flatten(3).all(3).long()
    assert where.sum(2).eq(1).all()  # images of the training set
    assert where.argmax(2).diff(dim=1).ne(0).all()  # two different ones
    assert torch.equal(bank(runner).in_use, training_images(3))
    runner, metrics = after_test(
        run,
        str(tmp_path / 'work/epoch_1.pth'),
        **hook(protocol=SMALL),
        **NO_TRAINING_SET,
    )
    assert torch.equal(bank(runner).residual_pairs, pairs)
    assert 0 <= metrics['accuracy/top1'] <= 100


def test_resuming_keeps_residuals(run, tmp_path):
    first = run(**{'train_cfg.max_epochs': 1}, **hook(protocol=SMALL))
    first.train()
    again = run(
        **{'train_cfg.max_epochs': 2},
        resume=True,
        **hook(protocol=SMALL, seed=9),
    )
    again.train()
    assert again.epoch == 2
    assert torch.equal(bank(first).residual_pairs, bank(again).residual_pairs)
    other = run(
        load_from=str(tmp_path / 'work/epoch_1.pth'),
        **{'train_cfg.max_epochs': 1},
        **hook(protocol=SMALL, seed=9),
    )
    other.train()
    assert not torch.equal(
        bank(first).residual_pairs, bank(other).residual_pairs
    )


@pytest.mark.parametrize(
    'hooks', [[], [dict(type='EMAHook')]], ids=['plain', 'averaged']
)
@pytest.mark.parametrize('val_interval', [1, 9])
def test_a_run_resumed_with_transduction_saves_residuals(
    run, tmp_path, hooks, val_interval
):
    options = {'train_cfg.val_interval': val_interval}
    run(
        custom_hooks=[*hooks, *hook(num_references=3)['custom_hooks']],
        **options,
        **{'train_cfg.max_epochs': 1},
    ).train()
    run(
        resume=True,
        custom_hooks=[*hooks, *hook(protocol=SMALL)['custom_hooks']],
        **options,
        **{'train_cfg.max_epochs': 2},
    ).train()
    saved = torch.load(tmp_path / 'work/epoch_2.pth', weights_only=False)
    found = [
        value
        for weights in (saved['state_dict'], saved.get('ema_state_dict', {}))
        for key, value in weights.items()
        if key.endswith('residual_pairs')
    ]
    assert [len(pairs) for pairs in found] == [6] * (1 + len(hooks))


def test_residuals_are_drawn_where_the_checkpoint_kept_none(run, checkpoint):
    runner, _ = after_test(run, checkpoint, **hook(protocol=SMALL))
    assert len(bank(runner).residual_pairs) == 6
    assert torch.equal(bank(runner).images, training_images(3))  # its own
    with pytest.raises(
        ValueError,
        match='`train_dataloader` in the config to draw .* or residuals '
        'from, but there is none.*another `protocol`',
    ):
        after_test(run, checkpoint, **hook(protocol=SMALL), **NO_TRAINING_SET)


def test_more_candidates_than_the_bank_holds_are_drawn_anew(run, checkpoint):
    more = dict(SMALL, num_candidates=7)
    runner, _ = after_test(run, checkpoint, **hook(protocol=more))
    assert torch.equal(bank(runner).in_use, training_images(7))
    with pytest.raises(ValueError, match='`num_references` to what the check'):
        after_test(run, checkpoint, **hook(protocol=more), **NO_TRAINING_SET)
    with pytest.raises(ValueError, match='at most 50 references.*got 51'):
        after_test(
            run, checkpoint, **hook(protocol=dict(SMALL, num_candidates=51))
        )


def test_adaptive_reports_the_mean_number_of_references(run, checkpoint):
    runner, metrics = after_test(
        run, checkpoint, **hook(num_references=3, protocol='adaptive')
    )
    assert 2 <= metrics['references/mean_used'] <= 3
    _, plain = after_test(run, checkpoint, **hook(num_references=3))
    assert 'references/mean_used' not in plain
    runner = run(
        load_from=checkpoint, **hook(num_references=3, protocol='adaptive')
    )
    assert 2 <= runner.val()['references/mean_used'] <= 3
    runner.val()
    assert [type(m).__name__ for m in runner.val_evaluator.metrics].count(
        'ReferencesUsed'
    ) == 1


def test_test_time_augmentation_leaves_the_mean_used_out(
    config_file, checkpoint, tmp_path
):
    metrics, samples = predictions(
        tmp_path, config_file, checkpoint, '--tta', '--protocol', 'adaptive'
    )
    assert 0 <= metrics['accuracy/top1'] <= 100
    assert 'references/mean_used' not in metrics


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
    runners = []
    build = launch.build_runner
    monkeypatch.setattr(
        launch,
        'build_runner',
        lambda cfg: runners.append(build(cfg)) or runners[-1],
    )
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


def test_bad_arguments():
    with pytest.raises(ValueError, match="the protocol to be .*got 'best'"):
        KReferenceHook(protocol='best')
    with pytest.raises(ValueError, match='uncertainty to be .*got .spread'):
        KReferenceHook(uncertainty='spread')
    with pytest.raises(ValueError, match='a mean is one image, but got 50'):
        KReferenceHook(select='mean', protocol='transduction')
    assert KReferenceHook(10, 'mean', protocol='single').needed == 1
    with pytest.raises(
        ValueError,
        match="least 3 for the protocol 'adaptiv.*but got 2. Raise it",
    ):
        KReferenceHook(2, protocol='adaptive')
    assert KReferenceHook(3, protocol='adaptive').needed == 3


def test_pairs_want_two_images():
    with pytest.raises(ValueError, match='2 images to draw resid.*list has 1'):
        draw_pairs([0], 3, seed=0)
