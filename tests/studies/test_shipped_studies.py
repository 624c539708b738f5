"""The studies that come with mmanchor: their configs, and that they run."""

import json
from types import SimpleNamespace

import pytest
import torch
from helpers.tiny_studies import GROUND, dump, flags_of
from helpers.tiny_suites import SUITE, write_arrays
from mmpretrain.registry import MODELS

from mmanchor.functional import anchor
from mmanchor.studies.cells import all_cells
from mmanchor.studies.cli import run_study
from mmanchor.studies.run import check_trainable
from mmanchor.studies.spec import (
    Landscape,
    ground_names,
    load_study,
    study_names,
)
from mmanchor.utils.config import reference_hooks, type_name

QUICK = ('landscape', 'masking')  # one of each kind of measuring
# the settings to run, where one of each method is not enough
SETTINGS = dict(
    # the settings of all images need more than there are here
    reference_size=('standard', 'anchored, 50', 'masked, 50'),
    evidence=(
        'standard',
        'masked, uniform, by image',
        'released',
        'subtractive control',
        'Mixup',
        'AugMix + masked, labels',
    ),
)

# the tiny suite has two kinds at severities 1 and 3 and no held-out images
# for a temperature; a plain model's stem has no halves
ABSENT = {
    'severity_5',
    'noise',
    'blur',
    'weather',
    'digital',
    'stem_distance',
    'ece_scaled',
    'corrupted_ece_scaled',
    'corrupted_nll_scaled',
}


@pytest.fixture(scope='module')
def shared(tmp_path_factory):
    """A ground that stands in for the digits; its models serve all studies."""
    folder = tmp_path_factory.mktemp('shared')
    write_arrays(folder / 'arrays')
    (folder / 'tiny.py').write_text(SUITE)
    (folder / 'trained').mkdir()
    options = dict(GROUND['options'], **{'train_cfg.max_epochs': 1})
    ground = dict(GROUND, suite=str(folder / 'tiny.py'), options=options)
    return SimpleNamespace(
        folder=folder, ground=dump(folder / 'digits.py', ground)
    )


@pytest.mark.parametrize(
    'name',
    [
        pytest.param(name, marks=() if name in QUICK else pytest.mark.slow)
        for name in study_names()
    ],
)
def test_our_studies_run_on_the_digits(name, shared, tmp_path, monkeypatch):
    """One setting of each method; the ground's name selects its variant."""
    check = Landscape.__post_init__

    def small_landscape(landscape):
        check(landscape)
        object.__setattr__(landscape, 'points', 3)
        object.__setattr__(landscape, 'images', 20)

    monkeypatch.setattr(Landscape, '__post_init__', small_landscape)
    study = load_study(name, shared.ground)
    assert len(study.settings) <= 12  # for minutes on a CPU
    assert study.landscape or set(study.plot.metrics) <= set(study.metrics)
    settings = SETTINGS.get(
        name, {one.method: one.name for one in study.settings}.values()
    )
    (tmp_path / 'trained').symlink_to(shared.folder / 'trained')
    flags = ['--on', shared.ground, '--seeds', '0', '--only', *settings]
    words = flags_of(name, tmp_path, shared.folder)
    assert run_study([*words, *flags]) == 0
    results = json.loads((tmp_path / 'results.json').read_text())
    assert {one['name'] for one in results['settings']} == set(settings)
    for one in results['settings']:
        values = {**one['mean'], **results['times'][one['name']]['mean']}
        assert set(study.metrics) - set(values) <= ABSENT
        assert set(study.metrics[:2]) <= set(values)
        assert one['paper'] == {}
    assert (tmp_path / f'{name}.png').exists()
    assert not results['missing']


@pytest.mark.parametrize('name', study_names())
def test_our_studies_have_configs_for_their_grounds(name, monkeypatch):
    # what weights are does not matter, and drawing them takes long
    monkeypatch.setattr(
        'torch.nn.init.kaiming_uniform_',
        lambda tensor, **_: torch.nn.init.zeros_(tensor),
    )
    grounds = load_study(name).grounds or ground_names()
    assert 'digits' in grounds
    trainings = []
    for ground in grounds:
        study = load_study(name, ground, seeds=[3, 4])
        cells = all_cells(study)
        assert len(cells) == len({cell.file_name for cell in cells})
        # settings differ in more than their names
        assert len({repr(cell.depends) for cell in cells}) == len(cells)
        for cell in cells:
            cfg = cell.training.cfg
            assert cfg.randomness.seed == cell.seed
            assert all(hook.seed == cell.seed for hook in reference_hooks(cfg))
        for cell in cells[::2]:
            check_method(cell.setting, cell.training.cfg)
            trainings.append(cell.training)
    # together, because grounds share parts; without data and without a GPU
    check_trainable(trainings, 'nowhere', here=False)


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


@pytest.mark.parametrize('place', ['layer3', 'layer4', 'head'])
@torch.no_grad()
def test_references_of_late_places_do_more_than_shift_the_logits(place):
    """If they shifted all logits alike, their spread would say nothing."""
    (cell,) = (
        one
        for one in all_cells(load_study('depth', 'digits', seeds=[0]))
        if one.setting.name == place
    )
    cfg = cell.training.cfg
    cfg.model.data_preprocessor = cfg.data_preprocessor
    model = MODELS.build(cfg.model).eval()
    for parameter in model.parameters():  # fresh halves may be equal
        parameter.add_(0.05 * torch.randn_like(parameter))
    one, other = torch.randn(2, 3, 16, 16)
    images = torch.randn(4, 3, 16, 16)
    shifts = model(anchor(images, one.expand_as(images))) - model(
        anchor(images, other.expand_as(images))
    )
    assert shifts.std(0).max() > 1e-2 * shifts.abs().mean()


def test_there_are_studies():
    names = (
        'reference_size alpha protocols augmentation label_noise masking '
        'mask_by capacity landscape linear_probe warm_start'
    )
    assert set(names.split()) <= set(study_names())


@pytest.mark.parametrize(
    'ground', ['digits', 'cifar10-5k', 'cifar10-folders-30e']
)
def test_settings_of_evidence_train_what_their_names_say(ground):
    cells = all_cells(load_study('evidence', ground))
    cfgs = {cell.setting.name: cell.training.cfg for cell in cells[::5]}
    plain = ('standard', 'ensemble of 3', 'Mixup', 'AugMix')
    controls = ('subtractive control', 'AugMix + control')
    anchored = set(cfgs) - {*plain, *controls}
    for name in plain:
        assert cfgs[name].model.type == 'ImageClassifier'
        assert 'type' not in cfgs[name].data_preprocessor
        assert 'custom_hooks' not in cfgs[name]
    for name in anchored:
        assert cfgs[name].model.type == 'AnchoredImageClassifier'
        assert cfgs[name].data_preprocessor.mask_prob == (
            0 if name == 'anchored' else 0.25
        )
        # the spread over single references has several to compare
        assert cfgs[name].custom_hooks[0].num_references == 10
    labels = {name for name in anchored if 'labels' in name} | {'released'}
    assert {
        name
        for name in anchored
        if cfgs[name].model.head.get('masked_target') == 'label'
    } == labels and len(labels) == 3
    assert {
        name for name in cfgs if 'masked_norm_stats' in cfgs[name].model
    } == {'released'}
    released = cfgs['released']
    assert released.model.masked_norm_stats == 'update'
    assert released.data_preprocessor.references.type == 'ReferenceSet'
    assert released.data_preprocessor.mask_coin == 'rank'
    for name in controls:
        model, preprocessor = cfgs[name].model, cfgs[name].data_preprocessor
        assert model.type == 'SubtractiveMixImageClassifier'
        assert preprocessor.type == 'SubtractiveMixDataPreprocessor'
        assert preprocessor.mask_prob == 0.25
        # it anchors nothing, so there are no references to choose
        assert 'custom_hooks' not in cfgs[name]
    assert (
        cfgs['AugMix + control'].train_dataloader
        == cfgs['AugMix'].train_dataloader
    )
    assert {
        name
        for name in cfgs
        if any(
            'AugMix' in step.type
            for step in cfgs[name].train_dataloader.dataset.pipeline
        )
    } == {'AugMix', 'AugMix + masked, labels', 'AugMix + control'}
    # all else is the ground's
    schedules = [
        (one.optim_wrapper, one.param_scheduler, one.train_cfg)
        for one in cfgs.values()
    ]
    assert all(one == schedules[0] for one in schedules)
    flips = [
        step.type
        for one in cfgs.values()
        for step in one.train_dataloader.dataset.pipeline
        if step.type == 'RandomFlip'
    ]
    assert len(flips) == (0 if ground == 'digits' else len(cfgs))


@pytest.mark.parametrize(
    'ground,width', [('digits', 128), ('cifar10-5k', 128), ('cifar10', 512)]
)
def test_depth_anchors_where_its_settings_say(ground, width):
    cells = all_cells(load_study('depth', ground, seeds=[0]))
    cfgs = {cell.setting.name: cell.training.cfg for cell in cells}
    plain = [cfgs.pop('standard'), cfgs.pop('standard, hidden layer')]
    assert [one.model.type for one in plain] == ['ImageClassifier'] * 2
    assert list(cfgs) == [
        'image',
        *(f'layer{stage}' for stage in range(1, 5)),
        'head',
    ]
    for name, cfg in cfgs.items():
        assert cfg.model.anchor_at == name
        assert cfg.data_preprocessor.mask_prob == 0.25
    heads = [one.model.head for one in (plain[1], cfgs['head'])]
    assert [(one.type, one.mid_channels) for one in heads] == [
        ('StackedLinearClsHead', [width])
    ] * 2
    assert all(
        cell.test_config.custom_hooks[0].num_references == 10
        for cell in cells[2:]
    )
