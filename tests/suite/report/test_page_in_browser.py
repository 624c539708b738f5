"""The page in a real browser: Chromium, headless, without a network."""

import html
import json
import re
import shutil
import subprocess

import numpy as np
import pytest
from helpers.suite_results import fake_results

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
  var table = document.querySelector('table.sortable');
  var button = table.tHead.rows[0].cells[1].querySelector('button');
  function values() {
    return Array.from(table.tBodies[0].rows).map(function (row) {
      return Number(row.cells[1].dataset.value);
    });
  }
  button.click();
  var down = values();
  button.click();
  var up = values();
  var root = document.documentElement;
  parent.postMessage(JSON.stringify({
    down: down, up: up, wide: root.scrollWidth, window: root.clientWidth,
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
FRAME = """<!DOCTYPE html><meta charset="utf-8"><pre id="found"></pre>
<script>
addEventListener('message', function (event) {
  document.getElementById('found').textContent = event.data;
});
</script>
<iframe width="%d" height="2000" srcdoc="%s"></iframe>
"""


def opened(path) -> tuple[str, str]:
    """Open a page in Chromium; return the probe's findings and the console."""
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
            '--dump-dom',
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
def page(suite_file, data, tmp_path):
    """A page with every kind of block."""
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


@pytest.mark.parametrize('width', [390, 1280])
def test_the_page_opens_sorts_and_fits(page, tmp_path, width):
    whole = tmp_path / 'frame.html'
    inside = page.replace('</body>', f'{PROBE}</body>')
    whole.write_text(FRAME % (width, html.escape(inside)), encoding='utf-8')
    text, console = opened(whole)
    assert console == ''
    found = json.loads(
        html.unescape(re.search('<pre id="found">(.*?)</pre>', text)[1])
    )
    assert found['down'] == sorted(found['down'], reverse=True)
    assert found['up'] == sorted(found['up'])
    assert found['down'] != found['up'] and len(found['up']) == 3
    assert found['wide'] <= found['window']  # only tables may scroll
    assert len(found['images']) > 50 and min(found['images']) > 0
    # text stays readable in a window of any width
    assert len(found['figures']) == 6 and min(found['figures']) > 250


def test_an_error_in_a_page_would_be_seen(tmp_path):
    path = tmp_path / 'broken.html'
    path.write_text('<script>missing()</script>')
    assert 'missing is not defined' in opened(path)[1]
