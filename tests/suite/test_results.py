"""Means, pooled bins and curves, computed by hand; the tidy table."""

import csv
import io

import numpy as np
import pytest
import torch
from helpers.suite_results import fake_results

from mmanchor.datasets import C_KINDS, SEVERITIES
from mmanchor.engine.batch_figure import number_of_bins
from mmanchor.suite.results import (
    COLUMNS,
    REJECTION,
    Point,
    SuiteResults,
    compare_scores,
    mean_by_group,
    mean_figures,
    reliability,
    results_table,
    smooth_ece_over_sets,
    summarise_shift,
)
from mmanchor.suite.spec import Suite, SuiteSet, set_for_mce

BINS = dict(count=[2.0, 0.0], confidence=[0.5, 0.0], right=[1.0, 0.0])


def cell(top1, spread=None, bins=BINS):
    return dict(figures=dict(top1=top1, spread=spread), reliability=bins)


def test_means_over_kinds_then_severities():
    cells = {
        ('fog', 1): cell(90.0, 1.0),
        ('fog', 5): cell(50.0, 3.0),
        ('snow', 1): cell(70.0, 2.0),
        ('snow', 5): cell(20.0, 6.0),
    }
    found = summarise_shift(cells)
    assert found['by_severity'] == {
        '1': dict(top1=80.0, spread=1.5),
        '5': dict(top1=35.0, spread=4.5),
    }
    assert found['by_kind'] == {
        'fog': dict(top1=70.0, spread=2.0),
        'snow': dict(top1=45.0, spread=4.0),
    }
    assert found['mean'] == dict(top1=57.5, spread=3.0)
    assert found['cells']['snow']['5'] == dict(top1=20.0, spread=6.0)
    assert found['reliability']['count'] == [8, 0]


def test_severities_are_in_order_and_a_set_without_is_its_own_mean():
    found = summarise_shift({('fog', s): cell(s) for s in (5, 2, 3)})
    assert list(found['by_severity']) == ['2', '3', '5']
    assert list(found['cells']['fog']) == ['2', '3', '5']
    found = summarise_shift({(None, None): cell(88.0)})
    assert found['mean'] == dict(top1=88.0, spread=None)
    assert found['by_severity'] is found['by_kind'] is found['cells'] is None
    assert found['reliability']['accuracy'] == [0.5, None]


def test_a_metric_that_one_kind_lacks_has_no_mean():
    found = mean_figures([dict(a=1.0, b=None), dict(a=2.0, b=3.0)])
    assert found == dict(a=1.5, b=None)


def test_bins_of_several_sets_are_added_up():
    other = dict(count=[1, 4], confidence=[0.1, 3.0], right=[1, 3])
    found = reliability([BINS, other])
    assert (found['edges'], found['count']) == ([0.0, 0.5, 1.0], [3, 4])
    assert found['confidence'] == pytest.approx([0.2, 0.75])
    assert found['accuracy'] == pytest.approx([2 / 3, 0.75])
    empty = reliability([BINS, BINS])
    assert empty['confidence'] == [0.25, None]
    assert empty['accuracy'] == [0.5, None]


def test_calibration_over_sets():
    shifts = {
        name: dict(mean=dict(smooth_ece=value))
        for name, value in (('a', 0.1), ('b', 0.2), ('c', 0.6))
    }
    found = smooth_ece_over_sets(shifts)
    assert found['mean'] == pytest.approx(0.3)
    assert found['std'] == pytest.approx(np.std([0.1, 0.2, 0.6], ddof=1))
    one = smooth_ece_over_sets(dict(a=shifts['a']))
    assert one == dict(mean=0.1, std=None)
    assert smooth_ece_over_sets({}) is None


@pytest.fixture(params=['apart', 'ties', 'same', 'few'])
def scores(request):
    rng = np.random.default_rng(0)
    inside, outside = rng.normal(0, 1, 900), rng.normal(1, 2, 400)
    return dict(
        apart=(inside, outside),
        ties=(inside.round(), outside.round()),
        same=(inside, inside),
        few=(inside[:3], outside[:2]),
    )[request.param]


@pytest.mark.parametrize(
    'kinds, severities', [(C_KINDS[1:], SEVERITIES), (None, SEVERITIES[1:])]
)
def test_errors_over_those_of_alexnet_need_all(kinds, severities):

    def suite(**options):
        of_kind = SuiteSet(
            'C', dict(type='ImageNetC', data_root='c'), **options
        )
        return Suite('mine', 'Mine', of_kind, [of_kind])

    assert set_for_mce(suite()).name == 'C'
    assert set_for_mce(suite(kinds=C_KINDS)).name == 'C'
    with pytest.raises(ValueError, match='15 kinds.*but got Mine. Change the'):
        set_for_mce(suite(kinds=kinds, severities=severities))


def test_curves_rise_and_enclose_the_area(scores):
    found = compare_scores(*scores)
    fpr, tpr = (np.array(found['roc'][key]) for key in ('fpr', 'tpr'))
    assert len(fpr) == len(tpr) == 101
    assert np.all(np.diff(fpr) >= 0) and np.all(np.diff(tpr) >= 0)
    assert fpr[0] == 0 and fpr[-1] == 1
    assert 0 <= tpr[0] and tpr[-1] <= 1
    area = torch.trapezoid(torch.tensor(tpr), torch.tensor(fpr)).item()
    assert area == pytest.approx(found['auroc'], abs=0.01)


def test_points_are_shares_at_a_threshold():
    inside, outside = np.arange(101.0), np.array([-1.0, 50.5, 99.5, 200.0])
    found = compare_scores(inside, outside)
    # the first threshold is 100; 99.5 is above the second one
    assert found['roc']['tpr'][:2] == [0.25, 0.5]
    assert found['roc']['fpr'][1] == pytest.approx(2 / 101)
    assert found['roc']['tpr'][-1] == 0.75
    assert found['auroc'] == pytest.approx((51 + 100 + 101) / 404)


def test_every_image_is_in_the_histogram(scores):
    found = compare_scores(*scores)['histogram']
    bins = number_of_bins(min(map(len, scores)))
    assert len(found['edges']) == bins + 1
    assert np.all(np.diff(found['edges']) > 0)
    for key, side in zip(('in', 'out'), scores):
        assert len(found[key]) == bins and sum(found[key]) == len(side)


def test_far_scores_are_in_the_outermost_bins():
    inside = np.linspace(0, 1, 1000)
    found = compare_scores(np.append(inside, 1e6), inside)['histogram']
    assert found['edges'][-1] < 2
    assert sum(found['in']) == 1001 and found['in'][-1] > found['out'][-1]


def test_a_model_without_one_of_the_sets_has_no_mean_of_the_group():
    def found(value, *scores):
        return dict(
            scores={one: dict.fromkeys(REJECTION, value) for one in scores}
        )

    groups = dict(a='near', b='near', c='far', d=None)
    sets = [SuiteSet(name, {}, group=group) for name, group in groups.items()]
    measured = dict(
        a=found(0.5, 'msp', 'energy'), b=found(0.7, 'msp'), d=found(0.1, 'msp')
    )
    assert mean_by_group(measured, sets) == dict(
        near=dict(
            sets=['a', 'b'],
            scores=dict(msp=dict.fromkeys(REJECTION, pytest.approx(0.6))),
        ),
        far=dict(sets=['c'], scores={}),
    )
    assert mean_by_group(measured, sets[3:]) == {}


@pytest.fixture
def results():
    return fake_results()


def test_the_table_has_one_row_for_each_value(results):
    model = results['models'][2]
    model['logits_divided_by'] = 1.5
    model['shifts']['CIFAR-10-C']['num_images'] = 2000
    table = results_table(results)
    assert tuple(table.columns) == COLUMNS
    keys = ['model', 'set', 'kind', 'severity', 'score', 'metric']
    assert not table.duplicated(keys).any()
    rows = table[(table.model == model['name']) & (table.metric == 'top1')]
    assert set(rows.temperature) == {1.5}
    grid = rows[rows.set == 'CIFAR-10-C'].pivot(
        index='kind', columns='severity', values='value'
    )
    part = model['shifts']['CIFAR-10-C']
    assert grid.loc['', ''] == part['mean']['top1']
    for kind, by_severity in part['cells'].items():
        assert grid.loc[kind, ''] == part['by_kind'][kind]['top1']
        for severity, figures in by_severity.items():
            assert grid.loc[kind, severity] == figures['top1']
    rows = rows.set_index('set')
    assert set(rows.images['CIFAR-10-C']) == {2000}
    assert rows.images['CIFAR-10'] == 10000
    assert rows.group.to_dict() == {
        'CIFAR-10': 'clean',
        'CIFAR-10-C': 'shifts',
        'CIFAR-10.1': 'shifts',
    }


def test_what_is_null_has_no_value(results):
    results['models'][0]['clean']['figures']['nll'] = None
    table = results_table(results)
    rows = table[(table.metric == 'nll') & (table.group == 'clean')]
    assert rows.value.isna().tolist() == [True, False, False]
    selected = SuiteResults(results)
    name = results['models'][0]['name']
    assert selected.value(name, selected.clean, 'nll') is None
    assert selected.value(name, Point('no such set'), 'nll') is None


def test_sets_that_only_one_model_has_are_listed_in_order(results):
    first, second, _ = results['models']
    first['shifts'] = {}
    second['ood'] = {'iSUN': second['ood']['SVHN']}
    selected = SuiteResults(results)
    assert selected.sets('shifts') == ['CIFAR-10-C', 'CIFAR-10.1']
    assert selected.sets('ood') == ['Textures', 'SVHN', 'iSUN']
    assert selected.corrupted_sets == ['CIFAR-10-C']
    assert selected.severities('CIFAR-10-C') == list('12345')
    assert selected.severities('CIFAR-10.1') == []


def test_without_pandas_the_extra_is_named(results, without_package):
    without_package('pandas')
    with pytest.raises(ImportError, match=r'mmanchor\[eval\]'):
        results_table(results)


def lines_of(results):
    return list(csv.DictReader(io.StringIO(SuiteResults(results).to_csv())))


def test_csv_parses_back_to_the_values(results):
    lines = lines_of(results)
    keys = ('model', 'set', 'kind', 'severity', 'figure')
    found = {
        tuple(line[key] for key in keys): float(line['value'])
        for line in lines
    }
    assert len(found) == len(lines)  # all keys differ
    for model in results['models']:
        name = model['name']
        part = model['shifts']['CIFAR-10-C']
        for kind, severity, figures in [
            ('', '', part['mean']),
            ('', '3', part['by_severity']['3']),
            ('fog', '', part['by_kind']['fog']),
            ('fog', '5', part['cells']['fog']['5']),
        ]:
            for figure, value in figures.items():
                key = (name, 'CIFAR-10-C', kind, severity, figure)
                assert found.get(key) == value
        figures = model['clean']['figures']
        assert found[name, 'CIFAR-10', '', '0', 'nll'] == figures['nll']
        scores = model['ood']['SVHN']['scores']
        key = (name, 'SVHN', '', '', 'msp_auroc')
        assert found[key] == scores['msp']['auroc']


def test_csv_has_temperatures_and_the_relative_error(results):
    figures = results['models'][0]['clean']['figures']
    results['models'][0].update(
        mce=85.2,
        temperature=dict(
            temperature=1.3, before=figures, after=dict(figures, ece=0.01)
        ),
    )
    found = {
        line['figure']: line['value']
        for line in lines_of(results)
        if line['model'] == 'standard'
    }
    assert found['relative_mce'] == '85.2'
    assert found['temperature'] == '1.3'
    assert found['ece_after_temperature'] == '0.01'
    assert float(found['ece_before_temperature']) == figures['ece']
    assert float(found['smooth_ece_std']) == 0.021
