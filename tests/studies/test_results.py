"""Differences from a baseline, seed by seed, and their intervals."""

import csv
import json

import numpy as np
import pytest
from helpers.tiny_studies import STUDY, read
from scipy.stats import ttest_rel

from mmanchor.studies.cells import CellStore, all_cells
from mmanchor.studies.figures import difference_figure
from mmanchor.studies.report import csv_text, difference_table, markdown_report
from mmanchor.studies.results import assemble, paired_difference, t_interval
from mmanchor.studies.spec import load_study
from mmanchor.suite.report.table import to_markdown

NOISE = np.random.default_rng(0).normal(0, 1, (3, 5))


@pytest.fixture
def made_up(study_file, tmp_path):
    """Results of cells that nothing was trained for."""

    def make(values, baseline=None):
        """Clean accuracy by setting and seed."""
        seeds = sorted({seed for one in values.values() for seed in one})
        study = load_study(
            study_file(
                settings=[
                    dict(name=name, method='standard') for name in values
                ],
                seeds=seeds,
                **({} if baseline is None else dict(baseline=baseline)),
                metrics=['clean', 'ece', 'seconds'],
            )
        )
        cells, store = all_cells(study), CellStore(tmp_path / 'made_up')
        for cell in cells:
            if cell.seed in values[cell.setting.name]:
                top1 = values[cell.setting.name][cell.seed]
                store.write(
                    cell,
                    'done',
                    model=dict(
                        clean=dict(figures=dict(top1=top1, ece=1 - top1 / 100))
                    ),
                    missing=[],
                    times=dict(seconds=1.0, training=1.0, measuring=1.0),
                    versions={},
                    commit='a',
                    device='cpu',
                )
        return assemble(study, cells, store)

    return make


def of_seeds(values):
    return dict(enumerate(np.round(values, 3).tolist()))


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
    wide, narrow = t_interval(one, 0.99), t_interval(one, 0.5)
    assert wide[0] < narrow[0] < narrow[1] < wide[1]


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
    assert table.rows[0][2].startswith(f'{shift:+.1f} [')
    # times differ from run to run and have no paired difference
    assert table.header == [
        'setting',
        'pairs',
        'clean accuracy (%)',
        'ECE, clean',
    ]


def test_pairing_takes_out_what_seeds_have_in_common(made_up):
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


def test_of_one_seed_there_is_no_interval_and_the_report_says_so(made_up):
    results = made_up({'standard': {0: 70.0}, 'other': {0: 71.0}})
    found = results['settings'][1]['difference']['metrics']['clean']
    assert found == dict(mean=1.0, interval=None, n=1, level=None)
    assert difference_table(results).rows[0][2] == '+1.0'
    text = markdown_report(results, [])
    assert 'Of one seed there is no interval.' in text
    assert '| other | 1 | +1.0 | -0.010 |' in text
    assert 'level |' not in text
    assert difference_figure(results, ['clean']) is None


def test_tables_and_lines_have_differences(made_up):
    results = made_up(
        {'standard': of_seeds(70 + NOISE[0]), 'other': of_seeds(75 + NOISE[1])}
    )
    found = results['settings'][1]['difference']['metrics']['clean']
    text = markdown_report(results, [])
    shown = f'{found["mean"]:+.1f} [{found["interval"][0]:+.1f}, '
    assert '## Paired difference from standard' in text and shown in text
    assert 't-interval' in results['conventions']['difference']
    lines = list(csv.DictReader(csv_text(results).splitlines()))
    clean = {
        line['setting']: line for line in lines if line['metric'] == 'clean'
    }
    assert clean['standard']['difference'] == ''
    assert float(clean['other']['difference']) == found['mean']
    assert [float(clean['other'][end]) for end in ('low', 'high')] == found[
        'interval'
    ]
    assert clean['other']['pairs'] == '5'


def test_any_setting_can_be_the_baseline(made_up):
    values = {
        'a': of_seeds(70 + NOISE[0]),
        'b': of_seeds(71 + NOISE[1]),
    }
    assert made_up(values)['baseline'] is None
    assert difference_table(made_up(values)) is None
    results = made_up(values, baseline='b')
    assert results['baseline'] == 'b'
    assert (
        results['settings'][0]['difference']
        and not results['settings'][1]['difference']
    )


def test_a_baseline_that_was_not_asked_for_is_not_compared_with(
    study, study_file, tmp_path
):
    assert study('--report', '--only', 'masked') == 0
    results = read(tmp_path / 'work/results.json')
    assert results['baseline'] is None
    with pytest.raises(
        ValueError,
        match="`baseline` of .* got 'standrad'. Did you mean 'standard'",
    ):
        load_study(study_file(baseline='standrad'))


def test_a_figure_has_intervals_and_tells_level_ones(made_up):
    results = made_up(
        {
            'standard': of_seeds(70 + NOISE[0]),
            'better': of_seeds(75 + NOISE[1]),
            'level': of_seeds(70.1 + NOISE[2]),
        }
    )
    figure = difference_figure(results, ['clean', 'ece', 'seconds'])
    assert [axes.get_title() for axes in figure.axes] == [
        'clean accuracy (%)',
        'ECE, clean',
    ]
    axes = figure.axes[0]
    bars = [one.get_segments()[0][:, 0].tolist() for one in axes.collections]
    found = [
        one['difference']['metrics']['clean']
        for one in results['settings'][1:]
    ]
    assert bars == [pytest.approx(one['interval']) for one in found]
    marks = [line for line in axes.get_lines() if line.get_marker() != 'None']
    assert [line.get_xdata()[0] for line in marks] == [
        one['mean'] for one in found
    ]
    assert [line.get_markerfacecolor() == 'white' for line in marks] == [
        False,
        True,
    ]
    assert [text.get_text() for text in axes.get_yticklabels()] == [
        'better',
        'level',
    ]
    low, high = axes.get_ylim()
    assert low > high  # the first on top


def test_a_study_ends_in_differences(study, tmp_path, capsys):
    assert study(settings=STUDY['settings'][:2]) == 0
    work = tmp_path / 'work'
    results = read(work / 'results.json')
    seeds = [one['seeds'] for one in results['settings']]
    masked = results['settings'][1]['difference']['metrics']
    assert set(masked) > {'clean', 'corrupted', 'ece', 'nll', 'auroc'}
    assert masked['nll']['mean'] == pytest.approx(
        np.mean([seeds[1][i]['nll'] - seeds[0][i]['nll'] for i in '01'])
    )
    report = (work / 'report.md').read_text()
    assert '](tiny_study_differences.png)' in report
    for name in ('tiny_study_differences.png', 'tiny_study_differences.pdf'):
        assert (work / name).stat().st_size > 5000
    printed = capsys.readouterr().out
    assert 'Paired difference from standard' in printed
    assert to_markdown(difference_table(results)) in report
    assert json.dumps(results)


def test_without_scipy_it_is_said_what_to_install(without_package):
    without_package('scipy')
    with pytest.raises(ImportError, match=r'pip install "mmanchor\[eval\]"'):
        t_interval([1.0, 2.0])
    assert t_interval([1.0]) is None
