"""Results over seeds, and differences from a baseline with intervals."""

import numpy as np
import pytest
from helpers.study_results import NOISE, of_seeds
from scipy.stats import ttest_rel

from mmanchor.studies.cells import CellStore, all_cells
from mmanchor.studies.report import difference_table
from mmanchor.studies.results import (
    assemble_study,
    over_seeds,
    paired_difference,
    t_interval,
)
from mmanchor.studies.spec import load_study


def test_the_interval_is_that_of_a_paired_t_test():
    one, other = 74 + NOISE[:2]
    expected = ttest_rel(one, other).confidence_interval(0.95)
    found = paired_difference(
        {str(i): dict(clean=value) for i, value in enumerate(one)},
        {str(i): dict(clean=value) for i, value in enumerate(other)},
    )
    clean = found['metrics']['clean']
    assert clean['interval'] == pytest.approx(list(expected))
    assert clean['mean'] == pytest.approx((one - other).mean())
    assert clean['n'] == 5 and found['left_out'] == []
    assert clean['level'] == bool(expected.low <= 0 <= expected.high)


def test_without_scipy_the_error_names_the_extra(without_package):
    without_package('scipy')
    with pytest.raises(ImportError, match=r'pip install "mmanchor\[eval\]"'):
        t_interval([1.0, 2.0])
    assert t_interval([1.0]) is None


@pytest.mark.parametrize(
    'shift,level', [(0.0, True), (-0.1, True), (5.0, False), (-5.0, False)]
)
def test_level_is_said_where_the_interval_holds_zero(shift, level, made_up):
    results = made_up(
        {
            'standard': of_seeds(74 + 0 * NOISE[0]),
            'other': of_seeds(74 + shift + NOISE[1] - NOISE[1].mean()),
        }
    )
    assert results['baseline'] == 'standard'
    first, second = results['settings']
    assert first['difference'] is None
    found = second['difference']['metrics']['clean']
    assert found['level'] is level
    assert found['mean'] == pytest.approx(shift, abs=1e-3)
    table = difference_table(results)
    assert [row[0] for row in table.rows] == ['other']
    assert table.rows[0][2].endswith(' level') == level
    shown = f'{shift:+.1f} ['.replace('-', '−')
    assert table.rows[0][2].startswith(shown)
    # times differ from run to run and have no paired difference
    assert table.header[2:] == ['clean accuracy (%)', 'ECE, clean']


def test_pairing_removes_what_seeds_have_in_common(made_up):
    common = 10 * NOISE[0]
    results = made_up(
        {
            'standard': of_seeds(60 + common),
            'other': of_seeds(61 + common + 0.1 * NOISE[1]),
        }
    )
    found = results['settings'][1]['difference']['metrics']['clean']
    assert results['settings'][1]['std']['clean'] > 4
    assert found['interval'][1] - found['interval'][0] < 0.5
    assert found['level'] is False


def test_seeds_of_one_of_the_two_are_left_out_and_counted(made_up):
    results = made_up(
        {
            'standard': {0: 70.0, 1: 71.0, 2: 72.0},
            'other': {1: 72.0, 2: 74.0, 3: 99.0, 4: 99.0},
            'apart': {4: 50.0},
        }
    )
    _, other, apart = results['settings']
    assert other['difference']['left_out'] == ['3', '4', '0']
    assert other['difference']['metrics']['clean']['mean'] == 1.5
    assert other['difference']['metrics']['clean']['n'] == 2
    assert apart['difference']['metrics'] == {}
    rows = difference_table(results).rows
    assert rows[0][:2] == ['other', '2, 3 left out']
    assert rows[1] == ['apart', '0, 4 left out', '–', '–']


def test_any_setting_can_be_the_baseline(made_up):
    values = {'a': of_seeds(70 + NOISE[0]), 'b': of_seeds(71 + NOISE[1])}
    assert made_up(values)['baseline'] is None
    assert difference_table(made_up(values)) is None
    results = made_up(values, baseline='b')
    assert results['baseline'] == 'b'
    first, second = (one['difference'] for one in results['settings'])
    assert first and second is None


@pytest.mark.parametrize(
    'on,settings,images,description',
    [
        ('digits', None, None, "CIFAR-C's settings"),
        ('digits', 'imagenet-c', None, "ImageNet-C's settings"),
        ('cifar10', 'cifar-c', None, "CIFAR-C's settings"),
        ('digits', 'cifar-c', 100, "CIFAR-C's settings, of 100 images"),
    ],
)
def test_settings_of_corruptions_come_from_the_cells(
    on, settings, images, description, tmp_path
):
    study, store = load_study('masking', on), CellStore(tmp_path)
    cells = all_cells(study)
    assert assemble_study(study, cells, store)['corruptions'] == []
    cell = dict(settings=settings, images=images)
    store.write(
        cells[0],
        'done',
        model={},
        failed=[],
        missing=[],
        times=dict(training=1.0, measuring=1.0),
        versions={},
        commit='',
        device='cpu',
        **(dict(corruptions={study.on.shifted: cell}) if settings else {}),
    )
    assert assemble_study(study, cells, store)['corruptions'] == [
        f'19 kinds × 5 severities, {description}'
    ]


@pytest.mark.parametrize(
    'on,options,published',
    [
        ('cifar100', None, 50.18),
        ('cifar10', None, None),
        ('digits', None, None),
        ('cifar100', {'train_cfg.max_epochs': 10}, None),
    ],
)
def test_published_values_need_the_same_data_and_architecture(
    on, options, published, tmp_path
):
    study = load_study('alpha', on)
    found = assemble_study(
        study, all_cells(study, options), CellStore(tmp_path), not options
    )
    assert found['settings'][0]['paper'].get('corrupted') == published
    (waiting,) = found['missing']
    assert waiting['state'] == 'to do'
    assert len(waiting['cells']) == 3 * len(study.settings)


def test_differences_of_a_study_are_those_of_its_cells(finished):
    standard, masked, *_ = finished.results['settings']
    differences = masked['difference']['metrics']
    assert set(differences) > {'clean', 'corrupted', 'ece', 'nll', 'auroc'}
    nll = [
        masked['seeds'][i]['nll'] - standard['seeds'][i]['nll'] for i in '01'
    ]
    assert differences['nll']['mean'] == pytest.approx(np.mean(nll))
    assert 'share members' in finished.results['conventions']['ensembles']


def test_a_baseline_that_was_not_asked_for_is_not_compared_with(finished):
    cells = finished.cells()
    study, store = cells[0].study, CellStore(finished.work)
    masked = [cell for cell in cells if cell.setting.name == 'masked']
    assert assemble_study(study, masked, store)['baseline'] is None


def test_changed_cells_are_left_out_with_the_reason(finished):
    changed = [
        dict(finished.settings[0], options={'optim_wrapper.optimizer.lr': 0.3})
    ]
    cells = finished.cells(settings=changed, seeds=[0])
    results = assemble_study(cells[0].study, cells, CellStore(finished.work))
    assert results['settings'][0]['n'] == 0
    (missing,) = results['missing']
    assert missing['state'] == 'changed'
    assert missing['reason'] == (
        'training.config.optim_wrapper.optimizer.lr: 0.1 then, 0.3 now'
    )


def test_intervals_over_seeds_hold_only_possible_values():
    values = [dict(clean=one, ece=(100 - one) / 100) for one in (99.0, 100.0)]
    found = over_seeds(values)['interval']
    assert found['clean'][1] == 100 and found['ece'][0] == 0
