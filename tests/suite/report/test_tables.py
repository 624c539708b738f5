import io
import locale
import sys
from pathlib import Path

import pytest
from helpers.suite_results import NAMES, fake_results
from rich.console import Console

from mmanchor.suite.figures.accuracy import severity_figure
from mmanchor.suite.report import writer
from mmanchor.suite.report.tables import all_tables, terminal_tables
from mmanchor.suite.report.writer import (
    draw_all,
    markdown_report,
    print_report,
    write_report,
)
from mmanchor.suite.results import SuiteResults
from mmanchor.utils.console import print_in_any_locale


@pytest.fixture
def results():
    """Three models, with values that need no rounding in tables."""
    results = fake_results()
    for model, top1 in zip(results['models'], (74.7, 88.3, 74.68)):
        model['shifts']['CIFAR-10-C']['mean']['top1'] = top1
        model['clean']['figures']['top1'] = 99.8
    return results


def titled(results, title):
    """The tables whose title starts with some words."""
    tables = all_tables(SuiteResults(results))
    return [one for one in tables if one.title.startswith(title)]


def table(results, title):
    (found,) = titled(results, title)
    return found


def markdown(results, *figures):
    return markdown_report(SuiteResults(results), *figures or ([],))


def column(found, name):
    return [row[found.header.index(name)] for row in found.rows]


def printed(results, width):
    console = Console(width=width, file=io.StringIO())
    for shown in terminal_tables(SuiteResults(results), width):
        console.print(shown)
    return console.file.getvalue()


def test_accuracy_has_the_difference_from_the_first_model(results):
    found = table(results, 'Top-1 accuracy, %')
    assert found.header == ['model', 'clean', 'CIFAR-10-C', 'CIFAR-10.1']
    assert column(found, 'model') == list(NAMES[:3])
    accuracies = ['74.7', '88.3 (+13.6)', '74.7 (+0.0)']
    assert column(found, 'CIFAR-10-C') == accuracies
    results['models'][1]['shifts']['CIFAR-10-C']['mean']['top1'] = 60.0
    found = table(results, 'Top-1 accuracy, %')
    assert column(found, 'CIFAR-10-C')[1] == '60.0 (−14.7)'


@pytest.mark.parametrize(
    'settings, words',
    [
        ('cifar-c', ", CIFAR-C's settings"),
        ('imagenet-c', ", ImageNet-C's settings"),
        (None, ', settings not recorded'),
        ('unknown', ''),
    ],
)
def test_captions_name_the_settings(results, settings, words):
    if settings != 'unknown':
        results['corruptions'] = {
            'CIFAR-10-C': dict(settings=settings, images=None)
        }
    words = f'15 kinds × 5 severities{words}.'
    found = table(results, 'Top-1 accuracy, %').caption
    assert f'CIFAR-10-C: {words}' in found
    by_severity = table(results, 'Top-1 accuracy on CIFAR-10-C by severity')
    assert by_severity.caption == words
    assert f'Mean over severities; {words}' in markdown(results)


def test_a_set_that_a_model_lacks_leaves_a_dash(results):
    del results['models'][1]['shifts']['CIFAR-10-C']
    found = table(results, 'Top-1 accuracy, %')
    assert column(found, 'CIFAR-10-C') == ['74.7', '–', '74.7 (+0.0)']
    del results['models'][0]['shifts']['CIFAR-10-C']
    found = table(results, 'Top-1 accuracy, %')
    assert column(found, 'CIFAR-10-C') == ['–', '–', '74.7']
    results['models'][2]['clean'] = None
    found = table(results, 'Top-1 accuracy, %')
    assert column(found, 'clean') == ['99.8', '99.8 (+0.0)', '–']


def test_corruption_error_has_a_column_if_there_is_any(results):
    assert 'mCE' not in table(results, 'Top-1 accuracy, %').header
    results['models'][2]['mce'] = 85.24
    found = table(results, 'Top-1 accuracy, %')
    assert column(found, 'mCE') == ['–', '–', '85.2']
    assert 'AlexNet' in found.caption


def test_severities_are_between_clean_and_mean(results):
    found = table(results, 'Top-1 accuracy on CIFAR-10-C by severity')
    assert found.header == ['model', 'clean', *'12345', 'mean']
    part = results['models'][1]['shifts']['CIFAR-10-C']
    assert found.rows[1] == [
        'anchored, K = 1',
        '99.8',
        *(f'{part["by_severity"][s]["top1"]:.1f}' for s in '12345'),
        '88.3',
    ]


def test_calibration_is_of_clean_and_shifted_sets(results):
    model = results['models'][1]
    model['clean']['figures']['ece'] = 0.0123
    model['shifts']['CIFAR-10.1']['mean']['ece'] = 0.0456
    found = table(results, 'Expected calibration error')
    assert column(found, 'clean')[1] == '0.012'
    assert column(found, 'CIFAR-10.1')[1] == '0.046'
    model['smooth_ece'] = dict(mean=0.0814, std=0.02)
    results['models'][0]['smooth_ece'] = None
    found = table(results, 'Smoothed')
    assert column(found, 'mean ± std')[:2] == ['–', '0.081 ± 0.020']
    model['smooth_ece']['std'] = None  # there is one shifted set
    assert column(table(results, 'Smoothed'), 'mean ± std')[1] == '0.081'
    model['shifts']['CIFAR-10-C']['mean'].update(nll=0.5554, brier=0.25)
    assert column(table(results, 'Negative'), 'CIFAR-10-C')[1] == '0.555'
    assert column(table(results, 'Brier'), 'CIFAR-10-C')[1] == '0.250'


def test_temperature_has_before_and_after(results):
    assert not titled(results, 'Temperature scaling')
    figures = results['models'][0]['clean']['figures']
    results['models'][1]['temperature'] = dict(
        temperature=1.304,
        before=dict(figures, ece=0.1, nll=0.5),
        after=dict(figures, ece=0.02, nll=0.4),
    )
    found = table(results, 'Temperature')
    assert [row[0] for row in found.rows] == ['anchored, K = 1']
    assert column(found, 'T') == ['1.30']
    assert column(found, 'ECE before') == ['0.100']
    assert column(found, 'ECE after') == ['0.020']
    assert column(found, 'NLL after') == ['0.400']


def test_anomalies_are_by_default_score_and_by_every_score(results):
    first, second, _ = results['models']
    first['ood']['SVHN']['scores']['msp'].update(auroc=0.9123, fpr95=0.5)
    second['ood']['SVHN']['scores']['energy'].update(auroc=0.95, aupr=0.7)
    second['ood']['SVHN']['scores']['spread']['auroc'] = 0.6
    del second['ood']['Textures']
    found = table(results, 'Out of distribution: AUROC, %')
    assert found.header == ['model', 'score', 'Textures', 'SVHN']
    assert found.rows[0][1::2] == ['msp', '91.2']
    assert found.rows[1] == ['anchored, K = 1', 'energy', '–', '95.0']
    found = table(results, 'Out of distribution: FPR95, %')
    assert column(found, 'SVHN')[0] == '50.0'
    found = table(results, 'Out of distribution: AUPR, %')
    assert column(found, 'SVHN')[1] == '70.0'
    every = table(results, 'Out of distribution: AUROC of every score')
    assert column(every, 'score') == ['msp'] + 2 * ['energy', 'msp', 'spread']
    assert every.rows[3] == ['anchored, K = 1', 'spread', '–', '60.0']


def test_spread_is_shown_where_there_are_references(results):
    results['models'][2]['clean']['figures']['spread'] = 0.1234
    found = table(results, 'Spread')
    assert column(found, 'clean') == ['–', '0.000', '0.123']
    assert not titled(results, 'Refer')
    results['models'][2]['clean']['figures']['mean_used'] = 2.24
    found = table(results, 'References used')
    assert column(found, 'clean') == ['–', '1.0', '2.2']
    assert not titled(fake_results(1), 'Spread')


@pytest.mark.parametrize('width, continued', [(80, True), (140, False)])
def test_tables_fit_the_terminal_and_nothing_is_cut(width, continued):
    results = fake_results(
        8,
        ('CIFAR-10-C', 'CIFAR-10-C̄ (CIFAR-10-C-bar)'),
        ('CIFAR-10.1', 'CINIC', 'a_set_of_my_own_with_a_long_name'),
        ('Textures (DTD)', 'SVHN', 'CIFAR-100', 'Places365', 'iSUN'),
    )
    text = printed(results, width)
    # one character is a combining one
    assert max(map(len, text.split('\n'))) <= width + 1
    assert '…' not in text
    for found in titled(results, ''):
        assert all(cell in text for row in found.rows for cell in row[1:])
    assert ('continued' in text) == continued


def test_names_are_text_not_markup(results):
    results['models'][0]['name'] = 'a [red]b[/] | c'
    assert 'a [red]b[/] | c' in printed(results, 80)
    assert '| a [red]b[/] \\| c | 99.8 |' in markdown(results)


def test_markdown_has_a_cell_for_each_column(results):
    text = markdown(results)
    blocks = [
        block.split('\n')
        for block in text.split('\n\n')
        if block.startswith('|')
    ]
    # the table by kind
    assert len(blocks) == len(titled(results, '')) + 1
    for block in blocks:
        assert len({line.count('|') for line in block}) == 1
    part = results['models'][1]['shifts']['CIFAR-10-C']['by_kind']
    (line,) = [line for line in text.split('\n') if line.startswith('| fog')]
    assert line.split(' | ')[2] == f'{part["fog"]["top1"]:.1f}'


def test_the_report_links_figures_and_lists_what_is_missing(results, tmp_path):
    results['missing'] = [dict(name='CINIC', reason='Not\nthere.')]
    results['failed'] = [dict(model='standard', name='SVHN', reason='NaN')]
    figures = [
        tmp_path / 'my figures' / f'ood-svhn.{e}' for e in ('png', 'pdf')
    ]
    text = markdown(results, figures, tmp_path)
    assert '](my%20figures/ood-svhn.png)' in text
    assert '[PDF](my%20figures/ood-svhn.pdf)' in text
    assert '- CINIC: Not there.\n- SVHN by standard: NaN\n' in text
    assert '- Accuracy is the share of images whose likeliest' in text
    text = markdown(fake_results(), ['figures/reliability-1.png'])
    assert '](figures/reliability-1.png)' in text and 'PDF' not in text
    assert 'Not measured' not in text


def test_metrics_without_values_have_no_table():
    results = fake_results(2, (), (), ())
    for model in results['models']:
        model.update(reliability=None)
    assert titled(results, '')[0].title == 'Top-1 accuracy, %'
    results['models'][0]['clean'] = results['models'][1]['clean'] = None
    assert titled(results, '') == [] and printed(results, 80) == ''
    assert SuiteResults(results).to_csv().count('\n') == 1  # the header
    assert '|' not in markdown(results)


def test_intervals_are_in_the_report_and_not_in_the_terminal(results):
    first, second, _ = results['models']
    second['shifts']['CIFAR-10-C']['mean'].update(top1_low=87.6, top1_high=89)
    second['clean']['figures'].update(nll=0.5, nll_low=0.4, nll_high=0.6)
    second['ood']['SVHN']['scores']['energy'].update(
        auroc=0.95, auroc_low=0.94, auroc_high=0.96
    )
    text = markdown(results)
    for cell in ('88.3 [87.6, 89.0] (+13.6)', '0.500 [0.400, 0.600]'):
        assert f'| {cell} |' in text
    assert '| 95.0 [94.0, 96.0] |' in text
    assert '87.6' not in printed(results, 80)
    csv = SuiteResults(results).to_csv()
    assert ',top1_low,87.6\n' in csv and ',energy_auroc_low,0.94\n' in csv


def test_numbers_of_images_are_in_captions(results):
    for model in results['models']:
        model['shifts']['CIFAR-10-C']['num_images'] = 2000
    assert table(results, 'Top-1 accuracy, %').caption.endswith(
        'Images: clean 10,000; CIFAR-10-C 2,000 of each kind and severity.'
    )
    caption = table(results, 'Out of distribution: AUROC, %').caption
    assert caption.endswith('Images: Textures 1,000; SVHN 1,000.')


def test_pooled_errors_and_means_have_columns_of_their_own(results):
    results['models'][1]['shifts']['CIFAR-10-C']['ece_pooled'] = 0.0321
    found = table(results, 'Expected calibration error')
    both = ['CIFAR-10-C (mean over sets)', 'CIFAR-10-C (pooled)']
    assert found.header == ['model', 'clean', *both, 'CIFAR-10.1']
    assert column(found, 'CIFAR-10-C (pooled)') == ['–', '0.032', '–']
    assert 'Pooled: ' in found.caption and 'Mean over sets: ' in found.caption
    assert 'CIFAR-10-C (mean over sets)' in table(results, 'Smoothed').header
    assert 'CIFAR-10-C' in table(results, 'Brier').header


def test_the_report_has_the_command_and_the_checkpoints(results):
    results.update(
        command='python tools/evaluate.py a.py b.pth',
        commit='0' * 40,
        settings=dict(device='a device', batch_size=32, amp=False),
    )
    results['models'][0].update(
        config='a.py', checkpoint='b.pth', sha256='f' * 64
    )
    text = markdown(results)
    for line in (
        '- command: `python tools/evaluate.py a.py b.pth`',
        '- device: a device',
        f'- commit of mmanchor: {"0" * 40}',
        f'| standard | a.py | b.pth | {"f" * 64} |',
    ):
        assert f'\n{line}\n' in text


@pytest.fixture
def locale_without_letters(monkeypatch):
    """Files and the terminal are ASCII, unless an encoding is named."""
    before = locale.setlocale(locale.LC_ALL)
    locale.setlocale(locale.LC_ALL, 'C')
    monkeypatch.setattr(
        sys, 'stdout', io.TextIOWrapper(io.BytesIO(), encoding='ascii')
    )
    yield
    locale.setlocale(locale.LC_ALL, before)


def test_a_report_is_written_in_a_locale_without_letters(
    tmp_path, monkeypatch, locale_without_letters
):
    """Names of sets and models, and signs, are not ASCII."""
    with pytest.raises(UnicodeEncodeError):
        (tmp_path / 'probe').write_text('±')
    print_in_any_locale()
    results = fake_results(2, ('CIFAR-10-C\u0304',), num_kinds=2)
    results['models'][0]['name'] = 'mod\u00e8le'
    # all figures would take ten seconds
    monkeypatch.setattr(
        writer,
        'all_figures',
        lambda found: {'accuracy-by-severity': severity_figure(found)},
    )
    draw_all(SuiteResults(results), tmp_path / 'figures')
    write_report(results, tmp_path)
    print_report(results, Path('\u00e9t\u00e9'), Console())
    text = (tmp_path / 'report.md').read_text(encoding='utf-8')
    assert 'modèle' in text and 'CIFAR-10-C̄' in text
    assert len(list((tmp_path / 'figures').glob('*.pdf'))) == 1
