"""The page in a real browser: Chromium, headless, without a network."""

import html
import json
import re
import shutil
import subprocess

import numpy as np
import pytest
from helpers.study_results import (
    difference,
    made_up_results,
    made_up_setting,
)
from helpers.suite_results import fake_results
from matplotlib import style

from mmanchor.studies.figures import difference_figure, study_figure
from mmanchor.studies.report import study_page
from mmanchor.studies.spec import Plot
from mmanchor.suite.figures.style import STYLE, save_figure_files
from mmanchor.suite.report.html import render
from mmanchor.suite.report.page import suite_page
from mmanchor.suite.report.pictures import take_pictures
from mmanchor.suite.report.writer import draw_all
from mmanchor.suite.results import SuiteResults
from mmanchor.suite.spec import load_suite

pytestmark = pytest.mark.browser
# runs inside the page, whose own policy allows inline scripts
PROBE = """
<script>
window.addEventListener('load', function () {
  var tables = Array.from(document.querySelectorAll('table.sortable'));
  var table = tables.filter(function (one) {
    return one.tBodies[0].rows.length == 3;
  })[0];
  var heads = Array.from(table.tHead.rows[0].cells);
  var column = heads.findIndex(function (one) {
    return !one.classList.contains('name');
  }) + COLUMN;
  var button = heads[column].querySelector('button');
  function values() {
    return Array.from(table.tBodies[0].rows).map(function (row) {
      return Number(row.cells[column].dataset.value);
    });
  }
  button.click();
  var down = values();
  button.click();
  var up = values();
  var root = document.documentElement;
  parent.postMessage(JSON.stringify({
    down: down, up: up, back: getComputedStyle(document.body).backgroundColor,
    name: getComputedStyle(table.tBodies[0].rows[0].cells[0]).position,
    wide: root.scrollWidth, window: root.clientWidth,
    images: Array.from(document.images).map(function (one) {
      return one.naturalWidth;
    }),
    figures: Array.from(document.querySelectorAll('svg')).map(
      function (one) { return one.getBoundingClientRect().width; })
  }), '*');
});
</script>
"""
# a window can't be as narrow as a phone, but a frame can
FRAME = """<!DOCTYPE html><meta charset="utf-8">
<meta name="color-scheme" content="light dark"><pre id="found"></pre>
<script>
addEventListener('message', function (event) {
  document.getElementById('found').textContent = event.data;
});
</script>
<iframe width="%d" height="2000" srcdoc="%s"></iframe>
"""


def opened(path, *flags) -> tuple[str, str]:
    """Open a page in Chromium; return the page and the console."""
    done = subprocess.run(
        [
            shutil.which('chromium') or 'chromium',
            '--headless=new',
            '--no-sandbox',
            '--disable-gpu',
            '--enable-logging=stderr',
            '--virtual-time-budget=10000',
            '--host-resolver-rules=MAP * ~NOTFOUND',
            f'--user-data-dir={path.parent / "profile"}',
            *(flags or ['--dump-dom']),
            path.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=240,
        check=True,
    )
    console = [line for line in done.stderr.splitlines() if 'CONSOLE' in line]
    return done.stdout, '\n'.join(console)


@pytest.fixture
def suite(suite_file, data, tmp_path):
    """A suite's page with every kind of block."""
    results = fake_results(3, num_kinds=4)
    answers = {
        model['name']: dict(
            label=np.arange(40) % 10,
            predicted=np.arange(40) % 9,
            confidence=np.linspace(0.3, 1, 40),
            row=np.arange(40),
            spread=np.linspace(0, 1, 40),
            reference_predicted=np.arange(120).reshape(40, 3) % 10,
            reference_confidence=np.full((40, 3), 0.5),
            references=np.full((3, 16, 16, 3), 99, np.uint8),
        )
        for model in results['models']
    }
    pictures = take_pictures(load_suite(suite_file(), data), answers)
    figures = draw_all(SuiteResults(results), tmp_path / 'figures')
    return render(
        suite_page(SuiteResults(results), figures, pictures, answers)
    )


@pytest.fixture
def study(tmp_path):
    """A study's page with its tables and figures."""
    names = ('standard', 'anchored', 'anchored, masked')
    results = made_up_results(
        *(
            made_up_setting(name, name, None, 80.0 + i, 1.0, difference=None)
            for i, name in enumerate(names)
        )
    )
    for i, setting in enumerate(results['settings'][1:]):
        metrics = dict(clean=difference(1.0 + i, 0.5))
        setting['difference'] = dict(left_out=[], metrics=metrics)
    results.update(baseline='standard', jobs={'accuracy': 'clean'})
    figures = []
    with style.context(['default', STYLE]):
        for name, figure in (
            ('made_up', study_figure(results, Plot('points', ['clean']))),
            ('made_up_differences', difference_figure(results, ['clean'])),
        ):
            save_figure_files(figure, tmp_path, name)
            figures.append(tmp_path / f'{name}.svg')
    return render(study_page(results, figures))


# of each page: images, figures, and the first column of numbers that differ
PAGES = dict(suite=(50, 6, 0), study=(0, 2, 1))


@pytest.fixture(params=PAGES)
def page(request):
    """Each kind of page, with what to expect of it."""
    return request.getfixturevalue(request.param), *PAGES[request.param]


@pytest.mark.parametrize('dark', [False, True], ids=['light', 'dark'])
@pytest.mark.parametrize('width', [390, 1280])
def test_a_page_opens_sorts_and_fits(page, tmp_path, width, dark):
    text, num_images, num_figures, column = page
    whole = tmp_path / 'frame.html'
    probe = PROBE.replace('COLUMN', str(column))
    inside = text.replace('</body>', f'{probe}</body>')
    whole.write_text(FRAME % (width, html.escape(inside)), encoding='utf-8')
    flags = ['--force-dark-mode'] * dark
    text, console = opened(whole, *flags, '--dump-dom')
    assert console == ''
    found = json.loads(
        html.unescape(re.search('<pre id="found">(.*?)</pre>', text)[1])
    )
    assert found['down'] == sorted(found['down'], reverse=True)
    assert found['up'] == sorted(found['up'])
    assert found['down'] != found['up'] and len(found['up']) == 3
    assert found['wide'] <= found['window']  # only tables may scroll
    assert len(found['images']) >= num_images
    assert all(found['images'])
    # text stays readable in a window of any width
    assert len(found['figures']) == num_figures
    assert min(found['figures']) > 250
    assert found['back'] == (
        'rgb(20, 24, 29)' if dark else 'rgb(255, 255, 255)'
    )
    # on a phone, names stay where a table is scrolled
    assert found['name'] == ('sticky' if width < 640 else 'static')


def test_a_page_prints_on_a_few_sheets(page, tmp_path):
    text, *_ = page
    (tmp_path / 'page.html').write_text(text, encoding='utf-8')
    pdf = tmp_path / 'page.pdf'
    _, console = opened(tmp_path / 'page.html', f'--print-to-pdf={pdf}')
    assert console == ''
    sheets = re.findall(rb'/Type\s*/Page\b', pdf.read_bytes())
    assert 1 <= len(sheets) <= 25


def test_an_error_in_a_page_would_be_seen(tmp_path):
    path = tmp_path / 'broken.html'
    path.write_text('<script>missing()</script>')
    assert 'missing is not defined' in opened(path)[1]
