import json

import pytest

from mmanchor.studies.cli import run_study
from mmanchor.studies.report import summary_sentences
from mmanchor.studies.spec import load_study
from mmanchor.studies.verdict import (
    check_jobs,
    read_others,
    recommend,
    verdict_table,
)


def difference(mean, half, n=5):
    low, high = mean - half, mean + half
    return dict(mean=mean, interval=[low, high], n=n, level=low <= 0 <= high)


def on(ground, **settings):
    """Results on a ground: by setting, differences of `corrupted`."""
    return dict(
        study='evidence',
        on=dict(name=ground),
        baseline='standard',
        jobs={'accuracy': 'corrupted'},
        settings=[
            dict(name='standard', difference=None),
            *[
                dict(name=name, difference=dict(metrics={'corrupted': one}))
                for name, one in settings.items()
            ],
        ],
    )


def test_the_largest_gain_that_holds_everywhere_is_recommended():
    first = on(
        'a',
        small=difference(1.0, 0.5),
        middle=difference(2.0, 0.5),
        large=difference(3.0, 0.5),
        level=difference(4.0, 5.0),
        worse=difference(-1.0, 0.5),
    )
    assert recommend(first)['accuracy']['recommended'] == 'large'
    second = on('b', large=difference(-0.1, 9.0), middle=difference(0.1, 9.0))
    found = recommend(first, [second])['accuracy']
    assert found['recommended'] == 'middle'
    assert [(one['name'], one['why_not']) for one in found['candidates']] == [
        ('level', 'level on a'),
        ('large', 'worse on b'),
        ('middle', ''),
        ('small', ''),
    ]


def test_the_summary_says_what_to_use_and_what_it_costs():
    results = on('a', masked=difference(2.0, 0.5), level=difference(1.0, 5.0))
    for setting in results['settings']:
        setting.update(mean={'seconds': 1.5}, std={}, n=5)
    first, cost = summary_sentences(dict(results, times={}))
    assert first.startswith('For accuracy, use masked: it differs from sta')
    assert 'by +2.0 [+1.5, +2.5] in' in first
    assert 'standard 1.5' in cost and 'level' not in cost
    none = on('a', level=difference(1.0, 5.0))
    for setting in none['settings']:
        setting.update(mean={}, std={}, n=5)
    (text,) = summary_sentences(dict(none, times={}))
    assert 'no setting is recommended over standard: the closest' in text
    assert summary_sentences(dict(none, jobs={})) == []


def test_none_is_recommended_where_no_gain_holds():
    first = on('a', level=difference(4.0, 5.0), worse=difference(-1.0, 0.5))
    assert recommend(first)['accuracy']['recommended'] == 'none'
    row = verdict_table(first).rows[0]
    assert row[2] == 'none (closest: level, level on a)'


def test_one_seed_has_no_interval_and_recommends_nothing():
    one = dict(mean=9.0, interval=None, n=1, level=None)
    found = recommend(on('a', lucky=one))['accuracy']
    assert found['recommended'] == 'none'
    assert found['candidates'][0]['why_not'] == 'one seed only on a'


def test_of_errors_a_decrease_is_the_gain():
    first = on('a', better=difference(-0.1, 0.05), worse=difference(0.2, 0.05))
    for setting in first['settings'][1:]:
        metrics = setting['difference']['metrics']
        metrics['corrupted_ece'] = metrics.pop('corrupted')
    first['jobs'] = {'calibration': 'corrupted_ece'}
    found = recommend(first)['calibration']
    assert found['recommended'] == 'better'
    assert len(found['candidates']) == 1


def test_grounds_that_could_not_measure_a_setting_are_named():
    first, second = on('a', best=difference(2.0, 0.5)), on('b')
    found = recommend(first, [second])['accuracy']
    assert (found['recommended'], found['unmeasured']) == ('best', ['b'])
    assert verdict_table(first, [second]).rows[0][-1] == '–'


def test_a_study_without_jobs_has_no_verdict():
    assert verdict_table(dict(on('a'), jobs={})) is None


def test_results_of_other_grounds_are_read_and_checked(tmp_path):
    (tmp_path / 'results.json').write_text(json.dumps(on('b')))
    assert read_others([tmp_path], 'evidence') == [on('b')]
    with pytest.raises(ValueError, match='results of masking .* evidence'):
        read_others([tmp_path], 'masking')
    (tmp_path / 'results.json').write_text('{"study"')
    with pytest.raises(ValueError, match='damaged file'):
        read_others([tmp_path], 'evidence')
    with pytest.raises(FileNotFoundError, match='drop --beside'):
        read_others([tmp_path / 'nowhere'], 'evidence')


def test_jobs_are_judged_by_known_metrics():
    assert load_study('evidence').jobs['abstaining'] == 'corrupted_aurc'
    with pytest.raises(ValueError, match="'speed' to be among clean"):
        check_jobs({'speed': 'fast'}, ['clean'])


def test_another_baseline_has_to_be_a_setting(tmp_path):
    with pytest.raises(
        ValueError, match="--baseline to be among .*'standard'"
    ):
        run_study(
            ['evidence', '--on', 'digits', '--work-dir', str(tmp_path)]
            + ['--list', '--baseline', 'standrd']
        )
