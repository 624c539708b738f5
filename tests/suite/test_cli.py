"""``tools/evaluate.py``: its flags, what it writes and what it prints."""

import json
import re
import shutil
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
from PIL import Image
from scipy import stats

from mmanchor.suite.candidates import Candidate
from mmanchor.suite.cli import evaluate, evaluate_parser, main
from mmanchor.suite.report.table import signed
from mmanchor.suite.spec import DEFAULT_SCORES

NAMES = ['standard', 'anchored, K = 1', 'anchored, K = 3']
CLEAN = 'shifts, ood = [], []'  # lines of a suite without other sets


@pytest.fixture(scope='module')
def once(trained, tmp_path_factory):
    """One run with three models, which several tests share."""
    from helpers.tiny_suites import SUITE, write_arrays

    folder = tmp_path_factory.mktemp('once')
    write_arrays(folder / 'arrays')
    (folder / 'tiny.py').write_text(SUITE)
    return evaluate(words_of(trained, folder)), folder / 'out'


def words_of(trained, folder):
    return [
        *(*trained.standard, *trained.anchored),
        *('--suite', str(folder / 'tiny.py'), '--data-root', str(folder)),
        *('--out', str(folder / 'out'), '--device', 'cpu'),
        *('--num-references', '1', '3'),
    ]


def test_results_have_every_model_and_set(once):
    results, out = once
    assert json.loads((out / 'results.json').read_text()) == results
    models = results['models']
    assert [model['name'] for model in models] == NAMES
    assert [model['num_references'] for model in models] == [None, 1, 3]
    assert results['missing'] == results['failed'] == []
    for model in models:
        assert model['clean']['num_images'] == 40
        cells = model['shifts']['Arrays']['cells']
        severities = {kind: list(by) for kind, by in cells.items()}
        assert severities == dict(fog=['1', '3'], frost=['1', '3'])
        assert model['ood']['Photographs']['num_images'] == 30
        assert len(model['sha256']) == 64
        assert model['temperature'] is None and model['mce'] is None
    assert results['suite'] == dict(name='tiny', title='Tiny')
    assert results['versions']['mmanchor'] and results['times']['seconds'] > 0
    # nothing is left half written
    assert sorted(path.name for path in out.iterdir()) == [
        '.running',
        'figures',
        'parts',
        'report.html',
        'report.md',
        'results.csv',
        'results.json',
    ]
    endings = {path.suffix for path in (out / 'parts').iterdir()}
    assert endings == {'.json', '.npz'}


def test_figures_have_their_intervals(once):
    results, out = once
    for model in results['models']:
        figures = model['clean']['figures']
        low, high = stats.binomtest(
            round(0.4 * figures['top1']), 40
        ).proportion_ci(method='wilson')
        assert figures['top1_low'] == pytest.approx(100 * low)
        assert figures['top1_high'] == pytest.approx(100 * high)
        assert 0 <= figures['nll_low'] < figures['nll'] < figures['nll_high']
        assert 0 <= figures['brier_low'] and figures['brier_high'] <= 2
        arrays = model['shifts']['Arrays']
        assert arrays['num_images'] == 20 and arrays['ece_pooled'] > 0
        cells = [one for by in arrays['cells'].values() for one in by.values()]
        for figure in ('top1_low', 'top1_high', 'nll_low'):
            assert arrays['mean'][figure] == pytest.approx(
                sum(one[figure] for one in cells) / 4
            )
        energy = model['ood']['Photographs']['scores']['energy']
        assert energy['auroc_low'] <= energy['auroc'] <= energy['auroc_high']
    assert ' (pooled) |' in (out / 'report.md').read_text(encoding='utf-8')


def test_what_is_shared_names_no_folder_of_the_machine(once):
    results, out = once
    assert results['models'][0]['checkpoint'] == '…/epoch_4.pth'
    for name in ('report.html', 'report.md', 'results.csv', 'results.json'):
        text = (out / name).read_text(encoding='utf-8')
        assert str(out.parent) not in text and str(Path.home()) not in text
    assert results['models'][1]['sha256'] in (out / 'report.md').read_text(
        encoding='utf-8'
    )


def test_the_page_shows_images_of_every_model_and_references_of_one(once):
    _, out = once
    text = (out / 'report.html').read_text(encoding='utf-8')
    assert 'This page holds images of the test set' in text
    assert 'width="16" height="16"' in text
    for name in NAMES:
        assert f'<h3>{name}: most uncertain</h3>' in text
        assert f'<h3>Confusion matrix: {name}</h3>' in text
    # four images beside three references: only one model has several
    assert text.count('<div class="pair">') == 4
    assert text.count('<div>with reference 3: ') == 4
    assert text.count('alt="fog, severity 3"') == 1
    assert len(text) < 500_000


def test_a_page_without_images_says_so_and_measures_nothing_again(
    once, trained, tmp_path, monkeypatch
):
    results, out = once
    shutil.copytree(out, tmp_path / 'out')
    words = words_of(trained, out.parent)
    words[words.index(str(out))] = str(tmp_path / 'out')
    monkeypatch.setattr(Candidate, 'load', None)  # loading would raise
    path = tmp_path / 'out/report.html'
    pages = []
    for flags in ([], [], ['--no-images']):
        assert evaluate([*words, *flags])['models'] == results['models']
        pages.append(path.read_text(encoding='utf-8'))
    with_images, again, without = pages
    assert again == with_images and '<img' in with_images
    assert 'This page holds no images of the data.' in without
    assert '<img' not in without and 'Confusion matrix' in without


def test_without_images_none_are_stored_either(trained, measured, tmp_path):
    more = 'shifts, ood = [], []'

    def stored_images():
        paths = (tmp_path / 'out/parts').glob('*.npz')
        arrays = [array for path in paths for array in np.load(path).values()]
        assert arrays
        return [array for array in arrays if array.ndim > 2]

    measured(trained.anchored, more=more, no_images=True)
    assert stored_images() == []
    measured(trained.anchored, more=more)
    (references,) = stored_images()
    assert references.shape == (3, 16, 16, 3)
    page = (tmp_path / 'out/report.html').read_text(encoding='utf-8')
    assert page.count('<div class="pair">') == 4


def test_scores_that_a_model_has_none_of_are_left_out(once):
    standard, single, several = (
        list(model['ood']['Photographs']['scores'])
        for model in once[0]['models']
    )
    assert several == list(DEFAULT_SCORES)
    # one reference has no spread
    others = [name for name in DEFAULT_SCORES if name != 'spread']
    assert standard == single == others


def test_a_report_with_differences_and_figures(once):
    results, out = once
    text = (out / 'report.md').read_text()
    row = next(
        line for line in text.splitlines() if line.startswith('| anchored, K')
    )
    tops = [
        model['shifts']['Arrays']['mean']['top1']
        for model in results['models']
    ]
    assert f'({signed(tops[1] - tops[0])})' in row
    links = re.findall(r'\]\(([^)]+\.(?:png|pdf))\)', text)
    assert {link.rpartition('.')[2] for link in links} == {'png', 'pdf'}
    assert len(links) >= 8
    for link in links:
        assert (out / unquote(link)).stat().st_size > 1000
    assert {unquote(link) for link in links} == {
        f'figures/{path.name}'
        for path in (out / 'figures').iterdir()
        if path.suffix != '.svg'  # the page embeds the SVG files
    }


def test_tables_are_printed_and_brackets_as_they_are(
    trained, measured, capsys
):
    results = measured(trained.standard, names='[my] model', out='set[/x]c')
    assert results['models'][0]['name'] == '[my] model'
    shown = capsys.readouterr().out
    assert 'Top-1 accuracy, %' in shown
    assert '[my] model' in shown and 'Report: ' in shown
    assert 'set[/x]c/report.html' in shown.replace('\n', '')


def test_a_missing_clean_set_ends_the_run_before_a_model_is_built(
    trained, measured, tmp_path, monkeypatch
):
    monkeypatch.setattr(Candidate, 'load', lambda *_: pytest.fail('built'))
    clean = "clean['dataset'] = dict(type='CustomDataset', data_root='gone')"
    looked = re.escape(str(tmp_path / 'data' / 'gone'))
    with pytest.raises(
        FileNotFoundError, match=f'clean .* in {looked}, .*--data-root'
    ) as caught:
        measured(trained.standard, more=clean)
    assert str(caught.value).count('Put it there') == 1
    assert not (tmp_path / 'out').exists()


CLEAN_FOLDER = """
clean['dataset'] = dict(
    type='CustomDataset',
    data_root='clean',
    metainfo=dict(classes=tuple('0123456789')))
"""


def test_a_clean_set_that_is_gone_leaves_a_page_of_what_was_measured(
    trained, measured, data, tmp_path, monkeypatch
):
    rng = np.random.default_rng(0)
    for i in range(10):
        (data / f'clean/{i}').mkdir(parents=True)
        pixels = rng.integers(256, size=(16, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(data / f'clean/{i}/a.png')
    models = trained.standard, trained.anchored
    first = measured(*models, more=CLEAN_FOLDER)
    page = tmp_path / 'out/report.html'
    before = page.read_text(encoding='utf-8')
    shutil.rmtree(data / 'clean')
    shutil.rmtree(data / 'arrays')
    monkeypatch.setattr(Candidate, 'load', None)  # loading would raise
    again = measured(*models, more=CLEAN_FOLDER)
    assert again['models'] == first['models']
    assert again['missing'] == again['failed'] == []
    text = page.read_text(encoding='utf-8')
    assert '<img' in before and '<img' not in text
    assert 'those of Digits are not there any more.' in text
    start = before.index('Accuracy by class')
    table = before[start : before.index('</table>', start)]
    assert table in text  # with the names of the classes
    # of a model that was not measured before, there is nothing to show
    monkeypatch.undo()
    with pytest.raises(FileNotFoundError, match='clean test set'):
        measured(*models, more=CLEAN_FOLDER, num_references=1)


def test_the_home_folder_is_expanded_in_flags(
    trained, command, data, monkeypatch
):
    monkeypatch.setenv('HOME', str(data.parent))
    words = command(trained.standard, more='ood = []')
    for flag in ('--data-root', '--out'):
        i = words.index(flag)
        name = words[i + 1].rpartition('/')[2]
        words[i : i + 2] = [f'{flag}=~/{name}']
    results = evaluate(words)
    assert list(results['models'][0]['shifts']) == ['Arrays']
    assert (data.parent / 'out/report.md').exists()


def test_same_names_get_numbers(trained, measured):
    results = measured(
        *[trained.standard] * 4, names=['a (2)', 'a', 'a', 'a'], more=CLEAN
    )
    names = [model['name'] for model in results['models']]
    assert names == ['a (2)', 'a', 'a (3)', 'a (4)']


@pytest.mark.parametrize(
    'flags, label',
    [
        (dict(), 'K = 3'),
        (dict(protocol='single'), 'K = 1'),
        (dict(protocol='adaptive', num_references=3), 'K ≤ 3'),
        (dict(protocol='transduction', num_candidates=3), 'best of 3'),
    ],
)
def test_how_references_are_used_is_in_the_name(
    trained, measured, flags, label
):
    (model,) = measured(trained.anchored, more=CLEAN, **flags)['models']
    assert model['name'] == f'anchored, {label}'
    assert model['protocol'] == flags.get('protocol', 'mean')
    used = model['clean']['figures']['mean_used']
    assert 1 <= used <= 3


@pytest.mark.parametrize(
    'flags, message',
    [
        (dict(scores='confidence'), 'score among energy.*but got .confidence'),
        (
            dict(batch_size=0),
            'Expected --batch-size to be at least 1, but got 0',
        ),
        (dict(workers=-1), 'Expected --workers to be at least 1, but got -1'),
        (
            dict(names=['a', 'b']),
            'many --names as models, 1, but got 2. Change',
        ),
        (dict(num_references=3), 'KReferenceHook.* for --num-references to'),
        (dict(protocol='single'), 'KReferenceHook.* for --protocol to change'),
    ],
)
def test_flags_that_do_not_fit(trained, measured, tmp_path, flags, message):
    with pytest.raises(ValueError, match=message):
        measured(trained.standard, **flags)
    assert not (tmp_path / 'out').exists()


def test_files_that_are_not_there(trained, measured, tmp_path):
    config, checkpoint = trained.standard
    with pytest.raises(ValueError, match='for every model, but got 3 argum'):
        measured(trained.standard, [config])
    with pytest.raises(FileNotFoundError, match='there is none at .*gone.pth'):
        measured([config, tmp_path / 'gone.pth'])
    with pytest.raises(FileNotFoundError, match='gone.py'):
        measured([tmp_path / 'gone.py', checkpoint])
    with pytest.raises(FileNotFoundError, match="cifar10, .*but got 'gone'"):
        evaluate([config, checkpoint, '--suite', 'gone'])


def test_help_names_the_suites_and_flags(capsys):
    with pytest.raises(SystemExit):
        evaluate_parser().parse_args(['--help'])
    shown = capsys.readouterr().out
    for word in ('cifar100', '--num-references', '--mce', '--temperature'):
        assert word in shown


def test_the_exit_status_tells_of_failures_and_a_stop(monkeypatch):
    failed = [dict(model=None, name='Digits', reason='')]
    parts: dict[str, list] = dict(failed=[], missing=failed)

    def evaluated():
        return parts

    def stopped():
        raise KeyboardInterrupt

    monkeypatch.setattr('mmanchor.suite.cli.evaluate', evaluated)
    assert main() is None
    parts['failed'] = failed
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 1
    monkeypatch.setattr('mmanchor.suite.cli.evaluate', stopped)
    with pytest.raises(SystemExit, match='^Stopped. Run the same'):
        main()
