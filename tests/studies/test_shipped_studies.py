"""Every study that comes with mmanchor runs on the digits."""

import json

import pytest
from helpers.tiny_studies import GROUND

from mmanchor.studies.cells import all_cells
from mmanchor.studies.cli import run_study
from mmanchor.studies.spec import load_study, study_names

# where the last needs more images than there are here, or where one setting
# of a method is not like another
SETTINGS = dict(
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

# the tiny suite has two kinds at severities 1 and 3 and holds no images out
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


@pytest.mark.parametrize('name', study_names())
def test_our_studies_run_on_the_digits(name, ground_file, words, tmp_path):
    """One setting of each method; the digits' variant by the name."""
    ground = ground_file(
        'digits',
        options=dict(GROUND['options'], **{'train_cfg.max_epochs': 1}),
    )
    study = load_study(name, ground)
    assert len(study.settings) < 12  # for minutes on a CPU
    assert study.landscape or set(study.plot.metrics) <= set(study.metrics)
    settings = SETTINGS.get(
        name, {one.method: one.name for one in study.settings}.values()
    )
    flags = ['--on', ground, '--seeds', '0', '--only', *settings]
    assert run_study(words(name, *flags)) == 0
    results = json.loads((tmp_path / 'work/results.json').read_text())
    assert {one['name'] for one in results['settings']} == set(settings)
    for found in results['settings']:
        have = {**found['mean'], **results['times'][found['name']]['mean']}
        assert set(study.metrics) - set(have) <= ABSENT
        assert set(study.metrics[:2]) <= set(have)
        assert found['paper'] == {}
    assert (tmp_path / f'work/{name}.png').exists()
    assert not results['missing']


@pytest.mark.parametrize(
    'ground', ['digits', 'cifar10-5k', 'cifar10-folders-30e']
)
def test_evidence_is_of_what_its_settings_say(ground):
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
