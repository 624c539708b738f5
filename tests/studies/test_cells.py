"""The cells of a study: their configs, their identity and their records."""

import json
from pathlib import Path

import pytest
from mmengine.config import Config

from mmanchor.studies.cells import (
    CellStore,
    all_cells,
    as_json,
    override,
    select_cells,
    with_data_root,
)
from mmanchor.studies.spec import load_study
from mmanchor.utils.config import read_config

EVIDENCE = Path(__file__).parents[2] / 'evidence'
ONE = dict(name='one', method='standard')


@pytest.mark.parametrize(
    'study,ground,folder,least',
    [
        ('evidence', 'digits', 'digits', 60),
        ('depth', 'digits', 'depth-digits', 24),
        ('references', 'digits', 'references-digits', 30),
    ],
)
def test_committed_cells_are_still_those_of_their_study(
    study, ground, folder, least
):
    """A change of a cell's identity would make hours of experiments void."""
    cells = all_cells(load_study(study, ground))
    store = CellStore(EVIDENCE / folder)
    done = [cell for cell in cells if store.is_done(cell)]
    stored = list((EVIDENCE / folder / 'cells').iterdir())
    assert len(done) == len(stored) >= least


def test_seeds_of_several_machines_are_cells_of_one_study(study_file):
    file = study_file()
    whole = {str(cell): cell.depends for cell in all_cells(load_study(file))}
    parts = {
        str(cell): cell.depends
        for seed in (0, 1)
        for cell in all_cells(load_study(file, None, [seed]))
    }
    assert parts == whole


def test_a_study_goes_on_with_another_number_of_workers(study_file, tmp_path):
    file = study_file()
    loader = 'train_dataloader.'
    few, many = (
        all_cells(load_study(file), {f'{loader}num_workers': number})[0]
        for number in (0, 4)
    )
    other = all_cells(load_study(file), {f'{loader}batch_size': 3})[0]
    store = CellStore(tmp_path)
    store.write(few, 'failed')
    assert store.state(many) == 'failed'
    assert few.training.key == many.training.key != other.training.key
    assert store.state(other) == 'changed'
    # records of older versions name the number of workers
    record = json.loads(store.path(few).read_text())
    config = record['depends']['training']['config']
    config['train_dataloader']['num_workers'] = 2
    store.path(few).write_text(json.dumps(record))
    assert store.state(many) == 'failed'


def test_the_identity_of_a_cell_names_no_machine(study_file, tmp_path):
    cell = all_cells(load_study(study_file()))[0]
    depends = json.dumps(cell.depends)
    assert str(tmp_path) not in depends.replace(
        json.dumps(cell.study.on.suite), ''
    )
    # the representation of a function has its place in memory
    assert as_json(read_config) == 'mmanchor.utils.config.read_config'
    assert as_json(slice(1)) == 'slice(None, 1, None)'


@pytest.mark.parametrize('content', [b'', b'[]', b'{}', b'\xff'])
def test_damaged_files_count_as_missing(study_file, tmp_path, content):
    cell, *_ = all_cells(load_study(study_file()))
    store = CellStore(tmp_path)
    store.write(cell, 'started')
    assert store.state(cell) == 'started'
    store.path(cell).write_bytes(content)
    assert store.state(cell) == 'to do' and not store.is_done(cell)
    folder = cell.training.folder(tmp_path)
    folder.mkdir(parents=True)
    (folder / 'epoch_1.pth').touch()
    (folder / 'trained.json').write_text('{"file": "epoch_1.pth"}')
    assert cell.training.checkpoint(tmp_path) == str(folder / 'epoch_1.pth')
    (folder / 'trained.json').write_bytes(content)
    assert cell.training.checkpoint(tmp_path) is None


def test_settings_are_selected_by_name(study_file):
    cells = all_cells(load_study(study_file(), seeds=[5]))
    found = select_cells(cells, ['masked, K = 2', 'standard'])
    assert [str(cell) for cell in found] == [
        'standard, seed 5',
        'masked, K = 2, seed 5',
    ]
    assert [cell.number for cell in found] == [0, 2]
    with pytest.raises(ValueError, match="got 'maskd'. Did you mean 'masked'"):
        select_cells(cells, ['maskd'])


def test_an_ensemble_needs_as_many_seeds_as_members(study_file):
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
    'test,message',
    [
        (dict(num_reference=2), "'num_reference'"),
        (dict(num_references=0), 'a positive integer, but got 0'),
    ],
)
def test_arguments_of_references_are_checked_before_training(
    test, message, study_file
):
    one = dict(name='odd', method='masked', test=test)
    with pytest.raises(
        ValueError, match=f"`test` of 'odd', .*KReferenceHook.*{message}"
    ):
        all_cells(load_study(study_file(settings=[one])))


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
def test_a_path_that_does_not_exist_is_refused_with_the_nearest(path, message):
    cfg = Config(
        dict(
            model=dict(backbone=dict(depth=18)),
            custom_hooks=[dict(type='KReferenceHook')],
        )
    )
    with pytest.raises(ValueError, match=message):
        override(cfg, {path: 1}, 'mine')


def test_options_replace_whole_values():
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


def test_relative_data_folders_move_and_absolute_ones_stay():
    inner = dict(
        data_root='data/cifar10/train',
        pipeline=[dict(mixing_set='data/mix')],
    )
    outer = dict(type='SymmetricLabelNoise', dataset=inner)
    cfg = Config(dict(train_dataloader=dict(dataset=outer)))
    moved = with_data_root(cfg, '/disk').train_dataloader.dataset.dataset
    assert moved.data_root == '/disk/cifar10/train'
    assert moved.pipeline[0].mixing_set == '/disk/mix'
    before = cfg.train_dataloader.dataset.dataset
    assert before.data_root == 'data/cifar10/train'
    absolute = dict(data_root='/else/data/cifar10')
    assert with_data_root(absolute, '/disk') == absolute
