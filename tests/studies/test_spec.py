"""Studies' files: what is refused, and what comes with mmanchor."""

import pytest
from helpers.tiny_studies import STUDY, dump
from mmengine.config import Config

from mmanchor.studies.cells import (
    all_cells,
    override,
    select_cells,
    with_data_root,
)
from mmanchor.studies.run import check_trainable
from mmanchor.studies.spec import ground_names, load_study, study_names
from mmanchor.utils.config import reference_hooks, type_name

ONE = dict(name='one', method='standard')


@pytest.mark.parametrize(
    'changes,message',
    [
        (dict(settings=[ONE, ONE]), "a name of its own.* got 'one' and 'one'"),
        (dict(settings=[ONE, dict(ONE, name='One!')]), "got 'one' and 'One!'"),
        (dict(settings=[]), 'to have settings, but got none'),
        (dict(seeds=[0, 1, 0]), 'each seed of .* once, but got 0, 1, 0'),
        (dict(seeds=[]), 'once, but got none'),
        (dict(seeds=[-1]), 'seeds to be integers from 0 on, but got -1'),
        (
            dict(metrics=['auroc_photograph']),
            "Did you mean 'auroc_photographs'",
        ),
        (dict(settings=[dict(ONE, ensemble=0)]), '1 or more, but got 0'),
        (dict(settings=[dict(ONE, ensemble=True)]), '1 or more, but got True'),
        (
            dict(settings=[dict(ONE, ensemble=2)], landscape=dict(points=3)),
            'no `ensemble` in .*, which has a `landscape`',
        ),
        (
            dict(metrics=['claen']),
            "among .* got 'claen'. Did you mean 'clean'",
        ),
        (
            dict(plot=dict(kind='pie')),
            "among lines, points, landscape.* 'pie'",
        ),
        (dict(plot=dict(colour=1)), "`plot` of .* got 'colour'. Remove it"),
        (dict(setings=[]), "got 'setings'. Did you mean 'settings'"),
        (dict(settings=[dict(name='one')]), 'setting 0 of .* to set method'),
        (dict(settings=[dict(ONE, method='maskt')]), "Did you mean 'masked'"),
        (
            dict(settings=[dict(ONE, start='two')]),
            "another setting, but got 'two'",
        ),
        (
            dict(settings=[dict(ONE, start='one')]),
            "another setting, but got 'one'",
        ),
        (dict(settings=[dict(ONE, start=dict(method='m'))]), "but got 'm'"),
        (dict(landscape=dict(points=4)), 'an odd number from 3 on, but got 4'),
        (dict(landscape=dict(images=0)), '`reach` above 0, `images`.* 1.0, 0'),
        (
            dict(plot=dict(log=True), settings=[dict(ONE, x=0)]),
            'above 0 for a logarithmic axis, but got 0',
        ),
        (
            dict(variants=dict(digit={})),
            "`variants` of .* Did you mean 'digits'",
        ),
        (
            dict(settings=[dict(ONE, paper=dict(cifar1o={}))]),
            "Did you mean 'cifar10'",
        ),
        (
            dict(settings=[dict(ONE, paper=dict(cifar10=dict(claen=1)))]),
            "`paper` of 'one' in .* Did you mean 'clean'",
        ),
        (dict(grounds=['digits']), 'on digits, .* but got --on tiny_ground'),
    ],
)
def test_what_a_file_may_not_say(changes, message, study_file):
    with pytest.raises(ValueError, match=message):
        load_study(study_file(**changes))


def test_two_settings_may_not_start_from_each_other(study_file):
    circle = [
        dict(ONE, start='two'),
        dict(name='two', method='standard', start='one'),
    ]
    with pytest.raises(ValueError, match='one → two → one'):
        load_study(study_file(settings=circle))


def test_what_is_not_there(study_file, ground_file, tmp_path):
    with pytest.raises(FileNotFoundError, match="Did you mean 'masking'"):
        load_study('maskin')
    with pytest.raises(
        FileNotFoundError, match="a ground .*'digit'. Did you mean 'dig"
    ):
        load_study(study_file(), on='digit')
    file = study_file()
    ground = ground_file('bad', configs=dict(standard='digits/nothing.py'))
    with pytest.raises(FileNotFoundError, match='digits/nothing.py, in'):
        load_study(file, on=ground)
    with pytest.raises(ValueError, match='to set configs'):
        load_study(
            study_file(), on=dump(tmp_path / 'bad.py', dict(title='bad'))
        )


@pytest.mark.parametrize(
    'changes,message',
    [
        (
            dict(configs=dict(standard=dict(config='a.py', option={}))),
            "standard in .* to set config, options, .* Did you mean 'options'",
        ),
        (
            dict(configs=dict(standard=dict(options={}))),
            'to set config, but got',
        ),
        (dict(settings=dict(batchsize=3)), "Did you mean 'batch_size'"),
        (dict(shifted='Array'), "`shifted` of .* Did you mean 'Arrays'"),
    ],
)
def test_what_a_ground_may_not_say(changes, message, study_file, ground_file):
    with pytest.raises(ValueError, match=message):
        load_study(study_file(), on=ground_file('bad', **changes))


def test_variants_may_be_of_a_ground_beside_the_study(study_file, ground_file):
    ground_file('mine')
    assert load_study(study_file(variants=dict(mine=dict(seeds=[3]))))


def test_settings_that_are_asked_for_have_to_be_there(study_file):
    cells = all_cells(load_study(study_file(), seeds=[5]))
    found = select_cells(cells, ['masked, K = 2', 'standard'])
    assert [str(cell) for cell in found] == [
        'standard, seed 5',
        'masked, K = 2, seed 5',
    ]
    assert [cell.number for cell in found] == [0, 2]
    with pytest.raises(ValueError, match="got 'maskd'. Did you mean 'masked'"):
        select_cells(cells, ['maskd'])


def test_an_ensemble_needs_as_many_seeds(study_file):
    settings = [ONE, dict(name='many', method='standard', ensemble=3)]
    file = study_file(settings=settings, seeds=[4, 5, 6])
    members = [
        [one.cfg.randomness.seed for one in cell.trainings]
        for cell in all_cells(load_study(file))
    ]
    assert members == [[4], [5], [6], [4, 5, 6], [5, 6, 4], [6, 4, 5]]
    cells = all_cells(load_study(file, seeds=[4, 5]))
    with pytest.raises(
        ValueError, match="'many' has members, 3, but got 2. Add seeds"
    ):
        select_cells(cells, None)
    assert len(select_cells(cells, ['one'])) == 2


@pytest.mark.parametrize(
    'path,message',
    [
        (
            'model.backbon.depth',
            "`model.backbon.depth`, which mine sets, .* `model` has no 'backbon'. "
            "Did you mean 'backbone'",
        ),
        (
            'custom_hook.0.num_references',
            "the config has no 'custom_hook'. Did you mean 'custom_hooks'",
        ),
        ('custom_hooks.1.seed', "`custom_hooks` has no '1'. There is 0"),
        ('model.backbone.depth.deep', '`model.backbone.depth` is 18'),
        (
            'model.backbone.depth.a.b',
            "`model.backbone.depth` has no 'a'. There is nothing",
        ),
        ('optimwrapper', "the config has no 'optimwrapper'"),
    ],
)
def test_a_path_that_leads_nowhere_is_refused(path, message):
    cfg = Config(
        dict(
            model=dict(backbone=dict(depth=18)),
            custom_hooks=[dict(type='KReferenceHook')],
        )
    )
    with pytest.raises(ValueError, match=message):
        override(cfg, {path: 1}, 'mine')


def test_values_take_the_place_of_others():
    cfg = Config(dict(model=dict(head=dict(a=1)), hooks=[dict(b=1), 2]))
    override(
        cfg,
        {
            'model.head': dict(c=dict(d=1)),
            'model.head.c.e': 2,
            'hooks.0.b': 3,
            'hooks.1': 4,
            'load_from': 'x.pth',
        },
        'mine',
    )
    assert cfg.model.head.c.to_dict() == dict(d=1, e=2)
    assert cfg.hooks[0].b == 3 and cfg.hooks[1] == 4
    assert cfg.load_from == 'x.pth' and 'a' not in cfg.model.head


@pytest.mark.parametrize(
    'test,message',
    [
        (dict(num_reference=2), "'num_reference'"),
        (dict(num_references=0), 'a positive integer, but got 0'),
    ],
)
def test_how_references_are_used_is_checked_before_training(
    test, message, study, tmp_path
):
    one = dict(name='odd', method='masked', test=test)
    with pytest.raises(
        ValueError, match=f"`test` of 'odd', .*KReferenceHook.*{message}"
    ):
        study(settings=[one])
    assert not (tmp_path / 'work').exists()


def test_a_study_of_unknown_keys_does_not_begin(study, tmp_path):
    wrong = dict(ONE, options={'model.backbon.depth': 18})
    with pytest.raises(
        ValueError, match="'one' sets.* Did you mean 'backbone'"
    ):
        study(settings=[*STUDY['settings'], wrong])
    assert not (tmp_path / 'work').exists()


def test_data_is_looked_for_where_it_is():
    cfg = Config(
        dict(
            train_dataloader=dict(
                dataset=dict(
                    type='SymmetricLabelNoise',
                    dataset=dict(
                        data_root='data/cifar10/train',
                        pipeline=[dict(mixing_set='data/mix')],
                    ),
                )
            )
        )
    )
    moved = with_data_root(cfg, '/disk').train_dataloader.dataset.dataset
    assert moved.data_root == '/disk/cifar10/train'
    assert moved.pipeline[0].mixing_set == '/disk/mix'
    inner = cfg.train_dataloader.dataset.dataset
    assert inner.data_root == 'data/cifar10/train'  # as it was
    absolute = dict(data_root='/else/data/cifar10')
    assert with_data_root(absolute, '/disk') == absolute


@pytest.mark.parametrize('name', study_names())
def test_our_studies_can_be_made_where_they_say(name):
    text = load_study(name)
    grounds = text.grounds or ground_names()
    assert 'digits' in grounds
    for ground in grounds:
        cells = all_cells(load_study(name, ground))
        assert len(cells) == len({cell.file_name for cell in cells})
        # settings differ in more than their names
        assert len({repr(cell.depends) for cell in cells}) == len(cells)
        firsts = [cell for cell in cells if cell.seed == cells[0].seed]
        # neither data nor a GPU may be there
        check_trainable(
            [cell.training for cell in firsts], 'nowhere', here=False
        )
        for cell in firsts:
            check_method(cell.setting, cell.training.cfg)
        for cell in cells:
            cfg = cell.training.cfg
            assert cfg.randomness.seed == cell.seed
            assert all(hook.seed == cell.seed for hook in reference_hooks(cfg))


def check_method(setting, cfg):
    assert type_name(cfg.model) == setting.options.get(
        'model.type',
        'ImageClassifier'
        if setting.method == 'standard'
        else 'AnchoredImageClassifier',
    )
    if 'data_preprocessor.mask_prob' not in setting.options:
        # of the anchored ones, those that mask are "masked"
        masks = cfg.data_preprocessor.get('mask_prob', 0) > 0
        assert masks == (setting.method == 'masked')


def test_seeds_also_decide_which_images_are_references():
    found = {
        cell.training.cfg.data_preprocessor.references.seed
        for cell in all_cells(load_study('reference_size'))
        if cell.setting.method != 'standard'
    }
    assert found == {0, 1, 2}


def test_there_are_studies():
    assert {
        'reference_size',
        'alpha',
        'protocols',
        'augmentation',
        'label_noise',
        'masking',
        'mask_by',
        'capacity',
        'landscape',
        'linear_probe',
        'warm_start',
    } <= set(study_names())
