"""Tables, CSV, Markdown and the page of a study."""

import csv
import json
from statistics import mean, stdev

import pytest
from helpers.study_results import (
    NOISE,
    difference,
    made_up_results,
    made_up_setting,
    of_seeds,
    on_ground,
)
from helpers.tiny_studies import read

from mmanchor.studies.figures import difference_figure
from mmanchor.studies.report import (
    csv_text,
    difference_table,
    markdown_study,
    study_table,
    summary_sentences,
    verdict_table,
)
from mmanchor.suite.report.html import unbroken
from mmanchor.suite.report.table import to_markdown


def test_tables_have_published_values_beside_ours():
    made_up = made_up_results(
        made_up_setting('a', 'masked', 1, 80.0, 2.0, 81.0),
        made_up_setting('b', 'masked', 2, 70.0, None),
    )
    table = study_table(made_up)
    assert table.header == [
        'setting',
        'seeds',
        'clean accuracy (%)',
        'clean accuracy (%), paper',
        'seconds for 1000 images',
    ]
    assert table.rows == [
        ['a', '2', '80.0 ± 2.0', '81.0', '2.00 ± 0.50'],
        ['b', '2', '70.0', '–', '2.00 ± 0.50'],
    ]
    text = markdown_study(made_up, ['made_up.png'])
    assert '| a | 2 | 80.0 ± 2.0 | 81.0 |' in text
    assert '- to do: 0; 1; 2 and 6 more cells\n' in text
    assert '[PDF](made_up.pdf)' in text
    assert csv_text(made_up).splitlines()[1] == (
        'a,masked,1,clean,80.0,2.0,2,81.0,0:79.0 1:81.0,,,,,,'
    )


def test_the_table_names_the_settings_of_the_corruptions():
    made_up = dict(
        made_up_results(made_up_setting('a', 'a', None, 80.0)),
        shifted='Digits-C',
        corruptions=["19 kinds × 5 severities, CIFAR-C's settings"],
    )
    caption = study_table(made_up).caption
    assert caption == (
        'Nothing. Corrupted: Digits-C, 19 kinds × 5 '
        "severities, CIFAR-C's settings."
    )
    assert caption in markdown_study(made_up, [])


def test_of_one_seed_there_is_no_interval_and_the_report_says_so(made_up):
    results = made_up({'standard': {0: 70.0}, 'other': {0: 71.0}})
    found = results['settings'][1]['difference']['metrics']['clean']
    assert found == dict(mean=1.0, interval=None, n=1, level=None)
    assert difference_table(results).rows[0][2] == '+1.0'
    text = markdown_study(results, [])
    assert 'Of one seed there is no interval.' in text
    assert '| other | 1 | +1.0 | −0.010 |' in text
    assert 'level |' not in text
    assert difference_figure(results, ['clean']) is None


def test_tables_and_lines_have_differences(made_up):
    results = made_up(
        {'standard': of_seeds(70 + NOISE[0]), 'other': of_seeds(75 + NOISE[1])}
    )
    found = results['settings'][1]['difference']['metrics']['clean']
    text = markdown_study(results, [])
    shown = f'{found["mean"]:+.1f} [{found["interval"][0]:+.1f}, '
    assert '## Paired difference from standard' in text and shown in text
    assert 't-interval' in results['conventions']['difference']
    standard, other = (
        line
        for line in csv.DictReader(csv_text(results).splitlines())
        if line['metric'] == 'clean'
    )
    assert (standard['setting'], standard['difference']) == ('standard', '')
    assert float(other['difference']) == found['mean']
    assert [float(other[end]) for end in ('low', 'high')] == found['interval']
    assert other['pairs'] == '5'


def test_the_summary_says_what_to_use_and_what_it_costs():
    results = on_ground(
        'a', masked=difference(2.0, 0.5), level=difference(1.0, 5.0)
    )
    for setting in results['settings']:
        setting.update(mean={'seconds': 1.5}, std={}, n=5)
        setting['interval'] = {'seconds': (1.2, 1.8)}
    first, cost = summary_sentences(dict(results, times={}))
    assert first == (
        'Take “masked” for accuracy: compared with “standard”, it raises '
        'corrupted accuracy by 2.0 points (95 % interval over seeds: 1.5 to '
        '2.5).'
    )
    assert cost == (
        '“standard” takes 1.50 seconds for 1000 images (95 % interval 1.20 to '
        '1.80) and “masked” 1.50 (1.20 to 1.80).'
    )
    none = on_ground('a', level=difference(1.0, 5.0))
    for setting in none['settings']:
        setting.update(mean={}, std={}, n=5)
    (text,) = summary_sentences(dict(none, times={}))
    assert text == (
        'For accuracy, no setting is better than “standard” beyond chance: '
        'the closest, “level”, raises corrupted accuracy by 1.0 points (95 % '
        'interval over seeds: difference from −4.0 to 6.0), but is level on a.'
    )


def test_a_study_has_at_most_three_sentences_and_says_what_errors_do():
    better = difference(-0.064, 0.01)
    results = on_ground('a', masked=difference(2.0, 0.5), plain=better)
    for setting in results['settings']:
        setting.update(mean={'corrupted': 70.0, 'corrupted_ece': 0.1}, std={})
        setting['n'] = 5
        for one in (setting['difference'] or {}).values():
            one['corrupted_ece'] = better
    # without jobs, it is about accuracy and calibration
    results = dict(results, times={}, jobs={})
    (text,) = summary_sentences(results)
    assert 'for accuracy under corruption and calibration' in text
    assert 'lowers ECE (corrupted) by 0.064 (0.054 to 0.074)' in text
    results['settings'] = results['settings'][:1]
    (text,) = summary_sentences(dict(results, metrics=['corrupted']))
    assert text == (
        '“standard” has corrupted accuracy (%) 70.0 and ECE, corrupted 0.100.'
    )


def test_the_verdict_names_the_closest_setting_where_none_holds():
    first = on_ground(
        'a', level=difference(4.0, 5.0), worse=difference(-1.0, 0.5)
    )
    table = verdict_table(first)
    assert table.num_names == 3  # texts, which are no numbers to sort by
    row = table.rows[0]
    assert row[2] == 'none (closest: level, level on a)'
    assert verdict_table(dict(first, jobs={})) is None
    # a dash for a ground without the metric
    first, second = on_ground('a', best=difference(2.0, 0.5)), on_ground('b')
    assert verdict_table(first, [second]).rows[0][-1] == '–'


def test_a_study_ends_in_json_tables_figures_and_a_page(finished):
    work, results = finished.work, finished.results
    assert not results['missing'] and len(results['made_with']) == 1
    by_name = {one['name']: one for one in results['settings']}
    assert list(by_name) == ['standard', 'masked', 'masked, K = 2', 'both']
    for name, one in by_name.items():
        stem = f'cells/{name.replace(", K = ", "-k-")}_seed'
        models = [read(work / f'{stem}{i}.json')['model'] for i in (0, 1)]
        top1 = [model['clean']['figures']['top1'] for model in models]
        assert one['mean']['clean'] == pytest.approx(mean(top1))
        assert one['std']['clean'] == pytest.approx(stdev(top1))
    assert results['images'] == dict(clean=40, corrupted=20)
    for name in ('tiny_study', 'tiny_study_differences'):
        for ending, start in (('png', b'\x89PNG'), ('pdf', b'%PDF')):
            content = (work / f'{name}.{ending}').read_bytes()
            assert content.startswith(start) and len(content) > 5000
    values = by_name['masked']
    low, high = values['interval']['clean']
    shown = f'{values["mean"]["clean"]:.1f} ± {values["std"]["clean"]:.1f}'
    weights = [one['weights'] for one in results['checkpoints']]
    assert len(weights) == 8
    report = (work / 'report.md').read_text()
    for text in (
        '](tiny_study.png)',
        '](tiny_study_differences.png)',
        f'{shown} [{low:.1f}, {high:.1f}]',
        'Images: clean 40; corrupted 20 of each kind',
        "- command: `python tools/study.py '…/tiny_study.py'",
        '- device: cpu',
        to_markdown(difference_table(results)),
        *(f'| {one} |' for one in weights),
    ):
        assert text in report
    page = (work / 'report.html').read_text(encoding='utf-8')
    assert unbroken(shown) in page and page.count('<svg') == 2
    assert 'Tiny study. Large marks are means over seeds' in page
    assert 'This page holds no images of the data.' in page
    assert weights[0] in page
    for text in (report, page):
        assert str(finished.folder) not in text
    lines = (work / 'results.csv').read_text().splitlines()
    assert lines[0].startswith('setting,series,x,metric,mean,std,n')
    assert len([line for line in lines if ',clean,' in line]) == 4
    assert shown in finished.first_printed
    assert 'Paired difference from standard' in finished.first_printed


def test_cells_alone_give_the_same_bytes_on_another_machine(
    finished, tmp_path
):
    other = finished.copy(tmp_path, 'cells')
    assert finished.run('--report', work_dir=other) == 0
    for name in (
        'results.json',
        'results.csv',
        'report.md',
        'tiny_study.png',
        'tiny_study_differences.png',
    ):
        expected = (finished.work / name).read_bytes()
        assert (other / name).read_bytes() == expected
    # and the same results on another ground stand beside them
    results = dict(read(other / 'results.json'), on=dict(name='elsewhere'))
    (tmp_path / 'beside').mkdir()
    (tmp_path / 'beside/results.json').write_text(json.dumps(results))
    beside = ('--report', '--beside', str(tmp_path / 'beside'))
    assert finished.run(*beside, work_dir=other) == 0
    (tmp_path / 'beside/results.json').write_text('{"study": "tiny_study"}')
    with pytest.raises(ValueError, match='damaged file'):
        finished.run(*beside, work_dir=other)
    # and nothing is left to do
    assert finished.run('--list', work_dir=other) == 0
    assert finished.printed.count(': done') == 8
