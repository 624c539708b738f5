"""The rule by which a setting is recommended."""

import json

import pytest
from helpers.study_results import difference, on_ground

from mmanchor.studies.verdict import read_others, recommend


def test_the_largest_gain_that_holds_everywhere_is_recommended():
    first = on_ground(
        'a',
        small=difference(1.0, 0.5),
        middle=difference(2.0, 0.5),
        large=difference(3.0, 0.5),
        level=difference(4.0, 5.0),
        worse=difference(-1.0, 0.5),
    )
    assert recommend(first)['accuracy']['recommended'] == 'large'
    second = on_ground(
        'b', large=difference(-0.1, 9.0), middle=difference(0.1, 9.0)
    )
    found = recommend(first, [second])['accuracy']
    assert found['recommended'] == 'middle'
    assert [(one['name'], one['why_not']) for one in found['candidates']] == [
        ('level', 'level on a'),
        ('large', 'worse on b'),
        ('middle', ''),
        ('small', ''),
    ]


def test_one_seed_has_no_interval_and_recommends_nothing():
    one = dict(mean=9.0, interval=None, n=1, level=None)
    found = recommend(on_ground('a', lucky=one))['accuracy']
    assert found['recommended'] == 'none'
    assert found['candidates'][0]['why_not'] == 'one seed only on a'


def test_of_errors_a_decrease_is_the_gain():
    first = on_ground(
        'a', better=difference(-0.1, 0.05), worse=difference(0.2, 0.05)
    )
    for setting in first['settings'][1:]:
        metrics = setting['difference']['metrics']
        metrics['corrupted_ece'] = metrics.pop('corrupted')
    first['jobs'] = {'calibration': 'corrupted_ece'}
    found = recommend(first)['calibration']
    assert found['recommended'] == 'better'
    assert len(found['candidates']) == 1


def test_a_ground_that_could_not_measure_a_setting_does_not_count():
    first, second = on_ground('a', best=difference(2.0, 0.5)), on_ground('b')
    assert recommend(first, [second])['accuracy']['recommended'] == 'best'


def test_results_of_other_grounds_are_read_and_checked(tmp_path):
    (tmp_path / 'results.json').write_text(json.dumps(on_ground('b')))
    assert read_others([tmp_path], 'evidence') == [on_ground('b')]
    with pytest.raises(ValueError, match='results of masking .* evidence'):
        read_others([tmp_path], 'masking')
    (tmp_path / 'results.json').write_text('{"study"')
    with pytest.raises(ValueError, match='damaged file'):
        read_others([tmp_path], 'evidence')
    for part in ('on', 'settings'):
        found = on_ground('b')
        del found[part]
        (tmp_path / 'results.json').write_text(json.dumps(found))
        with pytest.raises(ValueError, match='damaged file'):
            read_others([tmp_path], 'evidence')
    with pytest.raises(FileNotFoundError, match='drop --beside'):
        read_others([tmp_path / 'nowhere'], 'evidence')
