"""What could not be trained is refused before anything is."""

import pytest
from helpers.tiny_studies import STUDY
from mmengine.config import Config

from mmanchor.studies.cells import Training, all_cells
from mmanchor.studies.run import _CHECKS, check_trainable
from mmanchor.studies.spec import load_study

NOISE = dict(type='SymmetricLabelNoise', rate=0.5)
PIPELINE = 'train_dataloader.dataset.pipeline'


def options(**changes):
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
        (options(model__backbone__depht=18), "`model`.*'depht'"),
        (options(model__head__loss=dict(type='No')), '`model`.*No is not in'),
        (options(optim_wrapper__optimizer__lrr=0.1), "optim_wrapper`.*'lrr'"),
        (options(param_scheduler__1__bigin=3), "param_scheduler`.*'bigin'"),
        (
            options(train_cfg__max_epoch=3),
            "`train_cfg`: .* EpochBasedTrainLoop .*Did you mean 'max_epochs'",
        ),
        (
            options(default_hooks__timer__x=3),
            'IterTimerHook .* but got x',
        ),
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
def test_nothing_is_trained_where_one_setting_is_wrong(
    change, message, study, tmp_path
):
    odd = dict(name='odd', method='masked', **change)
    with pytest.raises(ValueError, match=f'(?s)Expected .*odd.*{message}'):
        study(settings=[STUDY['settings'][0], odd])
    assert not list((tmp_path / 'work').rglob('*.pth'))


def test_each_setting_is_looked_at_once(study_file, monkeypatch):
    built = []
    monkeypatch.setitem(
        _CHECKS,
        ('model', 'optim_wrapper', 'param_scheduler'),
        lambda **parts: built.append(parts),
    )
    cells = all_cells(load_study(study_file()))
    check_trainable([cell.training for cell in cells], 'data')
    assert len(built) == 2  # standard and masked


def test_data_that_is_not_there_is_left_for_training():
    text = load_study('label_noise', on='cifar10-folders', seeds=[0])
    check_trainable([one.training for one in all_cells(text)], 'nowhere')


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
