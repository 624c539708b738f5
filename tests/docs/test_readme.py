"""What the README and the pages in docs/ show works."""

import importlib
import re

import pytest
import yaml
from helpers.shown_commands import PAGES, ROOT, blocks
from mmengine.config import Config
from mmpretrain.registry import MODELS

from mmanchor.models import AnchoredImageClassifier

README, CONFIGS = PAGES['README.md'], PAGES['configs.md']
SITE = yaml.safe_load((ROOT / 'mkdocs.yml').read_text())


def nav(entries=SITE['nav']):
    """The pages of the site, in order."""
    for entry in entries:
        for value in entry.values():
            yield from [value] if isinstance(value, str) else nav(value)


def test_the_four_lines_as_shown_anchor_the_config_shown(tmp_path):
    (diff,) = blocks('diff', 'README.md')
    lines = diff.splitlines()
    added = [line for line in lines if line.startswith('+') and len(line) > 1]
    assert len([line for line in added if line[1] != '#']) == 4
    path = tmp_path / 'config.py'
    path.write_text('\n'.join(line[1:] for line in lines))
    cfg = Config.fromfile(path)
    model = MODELS.build(
        dict(cfg.model, data_preprocessor=cfg.data_preprocessor)
    )
    assert isinstance(model, AnchoredImageClassifier)


@pytest.mark.parametrize('page', sorted(set(PAGES) - {'README.md'}))
def test_python_of_the_pages_runs(page, capsys):
    for code in blocks('python', page):
        exec(code, {})


def test_python_runs():
    names = {}
    for code in blocks('python', 'README.md'):
        exec(code, names)
    for sample in names['samples']:
        assert sample.pred_score.shape == (10,)
        assert sample.pred_label.item() in range(10)
        assert 'pred_std' in sample


def test_a_readme_is_one_screen_of_short_lines():
    lines = README.splitlines()
    assert len(lines) <= 150
    prose = [line for line in lines if not line.startswith('|')]
    assert max(map(len, prose)) <= 100


def test_the_four_lines_are_the_same_on_all_pages():
    (diff,) = blocks('diff', 'README.md')
    assert blocks('diff', 'index.md') == [diff]
    lines = [line[1:] for line in diff.splitlines()]
    shown = [
        code
        for code in blocks('python', 'configs.md')
        if code.startswith('_base_')
    ]
    assert [code.splitlines() for code in shown] == [lines]


def test_settings_in_a_config_build_as_shown(tmp_path):
    (code,) = (
        one for one in blocks('python', 'configs.md') if 'ReferenceSet' in one
    )
    head = README.split('_base_', 1)[1].splitlines()[0]
    path = tmp_path / 'c.py'
    path.write_text(
        f"_base_{head}\ncustom_imports = dict(imports=['mmanchor'])\n{code}"
    )
    cfg = Config.fromfile(path)
    model = MODELS.build(
        dict(cfg.model, data_preprocessor=cfg.data_preprocessor)
    )
    assert model.head.loss_module.target == 'label'
    assert model.data_preprocessor.reference_set.size == 500


def test_hooks_of_a_base_are_kept_as_shown(tmp_path):
    (line,) = re.findall(r'`(custom_hooks = \[\*_base_.*?\])`', CONFIGS)
    base = 'mmpretrain::convnext/convnext-tiny_32xb128_in1k.py'
    (tmp_path / 'c.py').write_text(f"_base_ = '{base}'\n{line}\n")
    hooks = Config.fromfile(tmp_path / 'c.py').custom_hooks
    assert [hook['type'] for hook in hooks] == ['EMAHook', 'KReferenceHook']


def test_settings_and_defaults_are_the_code_s():
    import inspect

    from mmanchor.engine import KReferenceHook
    from mmanchor.models import AnchoringDataPreprocessor
    from mmanchor.models.heads import ReferenceMasking

    classes = {
        c.__name__: c
        for c in (
            AnchoringDataPreprocessor,
            AnchoredImageClassifier,
            KReferenceHook,
        )
    }
    rows = re.findall(
        r'^\| (\S.*?|) ?\| `(\w+)` \| .* \| (.*?) \|$', CONFIGS, re.M
    )
    assert len(rows) == 18
    shown, real = [], []
    owner = ''
    for name, argument, default in rows:
        owner = name.strip('`') or owner
        arguments = inspect.signature(
            classes.get(owner, ReferenceMasking)
        ).parameters
        found = arguments[argument].default
        shown.append(default.strip('`'))
        real.append(shown[-1] if found is None else repr(found))
    assert shown == real


def test_the_matrix_is_summed_up_as_it_was_printed():
    (line,) = re.findall(
        r'^58 of 58 train.*$', PAGES['backbone-matrix.md'], re.M
    )
    assert line.split('(')[0].strip() in README
    assert line in PAGES['my-backbone.md']
    assert PAGES['backbone-matrix.md'].count('_in1k') >= 56  # rows
    timm = PAGES['timm-matrix.md']
    (line,) = re.findall(r'^97 of 98 train.*$', timm, re.M)
    assert line in PAGES['my-backbone.md']
    assert len(re.findall(r'^\| \w+ \| ', timm, re.M)) == 1 + 97


@pytest.mark.parametrize(
    'name',
    [
        'mmanchor',
        'mmanchor.functional',
        'mmanchor.models',
        'mmanchor.datasets',
        'mmanchor.engine',
        'mmanchor.evaluation',
    ],
)
def test_all_public_names_are_in_the_api(name):
    api = PAGES['api.md']
    shown = re.findall(rf'^::: {name}\.(\w+)$', api, re.M)
    packages = re.findall(rf'^## {name}\.(\w+)$', api, re.M)
    public = set(importlib.import_module(name).__all__)
    if name == 'mmanchor':  # it is shown where it is from
        public.remove('fold_reference')
        assert '\n::: mmanchor.models.fold_reference\n' in api
    assert sorted([*shown, *packages]) == sorted(public)


def test_every_page_has_its_place_in_the_site_and_on_its_first_page():
    pages = list(nav())
    assert sorted(pages) == sorted(set(PAGES) - {'README.md'})
    table = PAGES['index.md'].partition('## Where to go on')[2]
    linked = set(re.findall(r'\]\(([\w-]+\.md)', table))
    assert set(pages) - linked == {'index.md', 'backbone-matrix.md'}


def test_the_site_loads_nothing_from_elsewhere():
    assert SITE['theme']['font'] is False
    assert 'extra_javascript' not in SITE
    for path in SITE['extra_css']:
        text = (ROOT / 'docs' / path).read_text()
        assert 'url(' not in text and '@import' not in text


def test_nothing_is_left_to_fill_in():
    assert not re.findall(r'@[A-Z]+@', '\n'.join(PAGES.values()))


def test_links_lead_somewhere():
    links = [
        (ROOT / ('docs' if name != 'README.md' else ''), path)
        for name, text in PAGES.items()
        for path in re.findall(r'\]\((?!http)([^)#]+)', text)
    ]
    assert links
    for folder, path in links:
        assert (folder / path).exists(), path


@pytest.mark.parametrize('page', sorted(set(PAGES) - {'README.md'}))
def test_links_of_pages_stay_among_them(page):
    """What is out of docs/ is not on the site."""
    links = re.findall(r'\]\((?!http)([^)#]+)', PAGES[page])
    assert [path for path in links if '/' in path] == []
