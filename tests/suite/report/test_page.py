"""The HTML page of a suite: its summary, its blocks and its escaping."""

import re
from html.parser import HTMLParser

import numpy as np
import pytest
from helpers.suite_results import fake_results

from mmanchor.evaluation.confidence_intervals import wilson_interval
from mmanchor.suite.comparisons import ImageAnswers
from mmanchor.suite.report.conventions import conventions
from mmanchor.suite.report.decision_tables import (
    decision_tables,
    promises,
)
from mmanchor.suite.report.html import Page, load_template, render
from mmanchor.suite.report.page import class_blocks, suite_page
from mmanchor.suite.report.pictures import (
    Pictures,
    encode,
    most_disputed,
    most_uncertain,
    most_wrong,
    take_pictures,
)
from mmanchor.suite.report.summary import summary
from mmanchor.suite.report.writer import draw_all
from mmanchor.suite.results import SuiteResults
from mmanchor.suite.spec import load_suite


class Reader(HTMLParser):
    """Checks that tags are closed in order; collects tags and texts."""

    VOID = {'meta', 'img', 'link', 'br', 'use', 'path'}

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.texts = [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(' '.join(data.split()))

    def count(self, tag):
        return sum(name == tag for name, _ in self.tags)


def answers_of(labels, predicted, **more):
    labels = np.array(labels)
    return dict(
        label=labels,
        predicted=np.array(predicted),
        confidence=np.linspace(0.4, 0.9, len(labels)),
        row=np.arange(len(labels)),
        **more,
    )


def page_of(results, *more):
    return render(suite_page(SuiteResults(results), *more))


@pytest.fixture(scope='module')
def drawn(tmp_path_factory):
    """The figures of small results, and their page."""
    results = fake_results(2, num_kinds=2, plain=(), ood=('SVHN',))
    folder = tmp_path_factory.mktemp('drawn')
    paths = draw_all(SuiteResults(results), folder)
    text = page_of(results, paths)
    assert page_of(results, paths) == text
    return paths, text


def test_figures_are_in_the_page_with_names_of_their_own(drawn):
    paths, text = drawn
    page = Reader(text)
    pages = [path for path in paths if path.suffix == '.svg']
    assert page.count('svg') == len(pages) == 4
    labels = [attrs['aria-label'] for tag, attrs in page.tags if tag == 'svg']
    assert 'Accuracy by severity of corruption.' in labels
    names = re.findall(r'\bid="([^"]+)"', text)
    assert len(set(names)) == len(names)
    used = set(re.findall(r'(?:href="#|url\(#)([^")]+)', text))
    assert used and used <= set(names)


def test_nothing_in_the_page_is_loaded_from_elsewhere(drawn):
    page = Reader(drawn[1])
    addresses = [
        value
        for _, attrs in page.tags
        for name, value in attrs.items()
        if name in ('src', 'href', 'xlink:href')
    ]
    assert addresses
    assert all(one.startswith(('#', 'data:')) for one in addresses)
    policy = [a for tag, a in page.tags if a.get('http-equiv')][0]
    assert policy['content'].startswith("default-src 'none'")


def test_names_with_html_in_them_are_escaped():
    evil = '<script>alert(1)</script>'
    results = fake_results(1, num_kinds=2, ood=())
    results['models'][0]['name'] = evil
    results['suite']['title'] = evil
    results['failed'] = [dict(model=evil, name=evil, reason=evil)]
    answers = {evil: answers_of([0, 1], [0, 0])}
    pictures = Pictures(evil, classes=[evil, '" onload="x'])
    text = page_of(results, (), pictures, answers)
    assert evil not in text and text.count('<script>') == 1
    assert Reader(text).texts.count(evil) > 3


def test_results_of_an_older_version_make_a_page():
    model = dict(name='old', clean=dict(figures=dict(top1=90.0)))
    results = dict(suite=dict(title='Old'), models=[model])
    page = Reader(page_of(results, ()))
    assert '“old” is right on 90.0 % of the clean images.' in page.texts
    assert 'Not measured' not in page.texts


def answers_that_are_right(shares, sets, count=400):
    """For each model, answers of which a share is right, at random."""
    rng = np.random.default_rng(0)
    hard = rng.uniform(size=count)
    return {
        name: ImageAnswers(
            {one: [hard < share] * 2 for one in sets},
            {
                'SVHN': {
                    score: (hard, hard + rng.uniform(0.4, 0.6, count))
                    for score in ('energy', 'msp', 'spread')
                }
            },
        )
        for name, share in shares.items()
    }


def compared_models():
    """Results of three models with given accuracies and AUROCs."""
    results = fake_results(3, num_kinds=2, plain=(), ood=('SVHN',))
    for model, top1, ece in zip(
        results['models'], (80.0, 90.0, 90.25), (0.1, 0.05, 0.07)
    ):
        mean = model['shifts']['CIFAR-10-C']['mean']
        mean.update(top1=top1, ece=ece)
        model['clean']['figures']['top1'] = 95.0
        for score in model['ood']['SVHN']['scores'].values():
            score['auroc'] = 0.8
    standard, one, ten = results['models']
    standard['ood']['SVHN']['scores']['msp']['auroc'] = 0.917
    one['ood']['SVHN']['scores']['spread']['auroc'] = 0.839
    return results


def test_the_summary_says_in_three_sentences_what_to_take_why_and_how_sure():
    results = compared_models()
    names = [model['name'] for model in results['models']]
    sets = ('CIFAR-10-C', 'CIFAR-10')
    shares = dict(zip(names, (0.8, 0.9, 0.9025)))
    answers = answers_that_are_right(shares, sets)
    for one in answers.values():
        one.right['CIFAR-10'] = [np.arange(400) < 380]
    taken, trust, cost = summary(SuiteResults(results), answers)
    # K = 10 is right a little more often, but level with K = 1 and dearer
    assert re.fullmatch(
        r'Take “anchored, K = 1”: on CIFAR-10-C it is \d+\.\d points better '
        r'than “standard” \(90.0 against 80.0 % right; 95 % interval '
        r'\d+\.\d to \d+\.\d\); on the clean images it is level with '
        r'“standard” \(95.0 against 95.0 % right; difference 0.0, −0.5 to '
        r'\+0.5\)\.',
        taken,
    )
    assert (
        'smallest with “anchored, K = 1”, 0.050 against 0.100 of “standard”'
    ) in trust
    # the best of all scores, not each model's first
    assert '“standard” with the score msp detects images of SVHN' in trust
    assert '(AUROC 91.7 %), ' in trust
    assert '“anchored, K = 1” with the score spread (83.9 %' in trust
    assert cost.startswith(
        'Each image takes, through the network, one pass with “standard” and '
        '“anchored, K = 1” and 10 passes with “anchored, K = 10”; “anchored, '
        'K = 10”, the most accurate on CIFAR-10-C, is level with “anchored, '
        'K = 1” there: difference '
    )
    page = Reader(page_of(results, (), None, None, answers))
    assert {taken, trust, cost} <= set(page.texts)


def test_a_tie_is_called_level_and_the_first_model_is_kept():
    results = compared_models()
    names = [model['name'] for model in results['models']]
    shares = dict(zip(names, (0.9, 0.9025, 0.85)))
    answers = answers_that_are_right(shares, ('CIFAR-10-C',))
    first, *_ = summary(SuiteResults(results), answers)
    assert first.startswith(
        'Keep “standard”: on CIFAR-10-C no other model is better beyond '
        'chance; the best of them, “anchored, K = 10”, is '
    )
    results['models'].pop()
    first, *_ = summary(SuiteResults(results), answers)
    assert 'is level with “standard” (90.0 against 80.0 % right;' in first


def test_without_answers_differences_have_no_intervals():
    first, trust, _ = summary(SuiteResults(compared_models()))
    assert first.startswith('Take “anchored, K = 10”: on CIFAR-10-C it is')
    assert 'interval' not in first
    assert (
        '(AUROC 91.7 %), 11.7 points better than “anchored, K = 10”' in trust
    )


def test_a_model_alone_is_described():
    results = fake_results(1, num_kinds=2, plain=(), ood=('SVHN',))
    accuracy, trust, cost = summary(SuiteResults(results))
    assert accuracy.startswith('“standard” is right on ')
    assert 'Take' not in accuracy and 'better' not in accuracy + trust
    assert 'the score msp detects images of SVHN best' in trust
    assert cost == 'Each image takes one pass through the network.'
    results['models'][0]['ensemble'] = 5
    assert '5 passes' in summary(SuiteResults(results))[2]


def test_classes_have_their_counts_and_the_matrix_its_confusions():
    answers = {'a': answers_of([0, 0, 0, 1, 1], [0, 0, 1, 1, 0])}
    table, matrix = class_blocks(answers, ['cat', 'dog'])
    assert [row[:2] for row in table.table.rows] == [
        ['cat', '3'],
        ['dog', '2'],
    ]
    assert table.table.rows[0][2].startswith('66.7 [')
    assert matrix.rows == [[2, 1], [1, 1]] and matrix.names == ['cat', 'dog']


def test_a_matrix_of_too_many_classes_is_summarised():
    labels = np.repeat(np.arange(1000), 2)
    predicted = labels.copy()
    predicted[:6] = 999
    answers = {'a': answers_of(labels, predicted)}
    table, confusions = class_blocks(answers, None)
    assert len(table.table.rows) == 30
    names = [row[0] for row in table.table.rows[:3]]
    assert names == ['class 0', 'class 1', 'class 2']
    assert confusions.kind == 'table'
    assert confusions.table.rows[0] == ['class 0', 'class 999', '2']
    assert 'too many classes' in confusions.caption
    # few labels may have many different answers
    labels, predicted = np.arange(100) % 10, np.arange(100) + 10
    _, confusions = class_blocks({'a': answers_of(labels, predicted)}, None)
    assert confusions.kind == 'table' and len(confusions.table.rows) == 30


def test_most_wrong_are_wrong_and_most_uncertain_are_not_confident():
    found = answers_of([0, 1, 2, 3], [0, 0, 0, 3])
    assert most_wrong(found).tolist() == [2, 1]
    assert most_uncertain(found).tolist() == [0, 1, 2, 3]


def test_references_disagree_most_where_answers_then_confidences_differ():
    alone = np.array([[1, 1, 1], [1, 2, 3], [1, 1, 1], [1, 1, 2]])
    confidences = np.array(
        [[0.9, 0.9, 0.9], [0.5] * 3, [0.2, 0.9, 0.9], [1] * 3]
    )
    assert most_disputed(alone, confidences).tolist() == [1, 3, 2, 0]


def test_conventions_are_sentences_about_what_the_report_has():
    results = fake_results(2, num_kinds=2)
    texts = conventions(SuiteResults(results))
    assert all(text[0].isupper() and text[-1] == '.' for text in texts)
    assert not re.search(r'ece_|_low|`|Prediction sets', ' '.join(texts))
    assert set(texts) <= set(Reader(page_of(results, ())).texts)
    plain = ' '.join(conventions(SuiteResults(fake_results(1, (), (), ()))))
    assert not re.search('corrupted|positive class|Ensembles', plain)
    both = ' '.join(conventions(SuiteResults(with_decisions(0.96, 0.7))))
    assert 'Prediction sets' in both


def test_large_images_become_thumbnails():
    picture = encode(np.zeros((300, 200, 3), np.uint8), 'black')
    assert (picture.width, picture.height) == (64, 96)
    assert picture.source.startswith('data:image/jpeg;base64,')
    small = encode(np.zeros((8, 8, 1), np.uint8), 'small')
    assert (small.width, small.height) == (8, 8)
    assert small.source.startswith('data:image/png;base64,')


def test_images_that_are_gone_leave_a_page_that_says_so(
    suite_file, data, monkeypatch
):
    suite = load_suite(suite_file(), data)
    answers = {'a': answers_of([0, 1], [1, 1])}
    shown = take_pictures(suite, answers)
    assert shown.galleries and shown.grids and not shown.pairs
    assert 'holds none' not in shown.note
    (data / 'arrays/frost.npy').unlink()
    shown = take_pictures(suite, answers)
    assert shown.galleries and not shown.grids
    assert 'It holds none of Arrays, whose images are not' in shown.note

    def gone(self, row):
        raise ValueError('gone')

    monkeypatch.setattr('mmanchor.suite.images.ImageBatches.read', gone)
    found = take_pictures(suite, answers)
    assert not found.galleries and len(found.classes) == 10
    results = fake_results(1, num_kinds=2, ood=())
    page = Reader(page_of(results, (), found, answers))
    assert not page.count('img')
    assert (
        'This page holds no images of the data: those of Digits can not be '
        'read any more.' in page.texts
    )


def test_without_jinja_the_extra_is_named(without_package):
    without_package('jinja2')
    with pytest.raises(ImportError, match=r'mmanchor\[eval\]'):
        load_template()


def test_sections_without_anything_are_left_out():
    page = Reader(render(Page('Empty', [], [])))
    assert page.count('section') == page.count('h2') == 0


def with_decisions(clean, worst):
    """Results of a model whose sets and answers are worse on shifts."""
    results = fake_results(1, num_kinds=2, plain=(), ood=())
    (model,) = results['models']
    model['prediction_sets'] = dict(raps=dict(coverage=0.9, num_images=500))
    model['abstention'] = dict(max_error=0.05, value=0.8)
    by_severity = model['shifts']['CIFAR-10-C']['by_severity']
    for share, figures in (
        (clean, model['clean']['figures']),
        *((clean, by_severity[one]) for one in '123'),
        *((worst, by_severity[one]) for one in '45'),
    ):
        figures.update(
            raps_coverage=share,
            raps_coverage_low=share - 0.01,
            raps_coverage_high=share + 0.01,
            raps_size=2.5,
            trusted=0.5,
            trusted_wrong=(1 - share) / 2,
            trusted_wrong_low=(1 - share) / 2 - 0.01,
        )
    return results


def test_a_page_says_where_sets_and_trusted_answers_fail():
    results = with_decisions(0.96, 0.7)
    assert promises(SuiteResults(results)) == [
        'Prediction sets (RAPS) of standard hold the label less often than '
        'the 90 % asked for on CIFAR-10-C at severity 4 (70.0 %) and 5 '
        '(70.0 %).',
        'Of the answers of standard that its threshold trusts, more than the '
        '5 % asked for are wrong on CIFAR-10-C at severity 4 (30.0 %) and 5 '
        '(30.0 %).',
    ]
    page = Reader(page_of(results, ()))
    assert set(promises(SuiteResults(results))) <= set(page.texts)
    coverage, size, error, share, _ = decision_tables(SuiteResults(results))
    assert coverage.rows[0][2:] == ['96.0'] * 4 + ['70.0 ✗'] * 2
    assert error.rows[0][1:] == ['4.0'] * 4 + ['30.0 ✗'] * 2
    *_, error, _, _ = decision_tables(SuiteResults(results), True)
    low, high = (100 * end for end in wilson_interval(0.04, 5000))
    assert error.rows[0][1] == f'4.0 [{low:.1f}, {high:.1f}]'
    assert set(size.rows[0][2:]) == {'2.50'}
    assert set(share.rows[0][1:]) == {'50.0'}


def test_promises_that_hold_are_called_so_and_there_may_be_none():
    sets, answers = promises(SuiteResults(with_decisions(0.96, 0.96)))
    assert 'at least as often as the 90 % asked for, as far as' in sets
    assert 'no more than the 5 % asked for are wrong, as far as' in answers
    results = SuiteResults(fake_results(1, num_kinds=2, ood=()))
    assert promises(results) == []
    assert all(one.is_empty() for one in decision_tables(results))
