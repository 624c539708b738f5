"""A sandbox for each page, in which runs are short."""

import sys

import pytest
from helpers.page_sandbox import THERE, Checkpoints, lay_out
from helpers.short_runs import shorten
from helpers.shown_commands import saved_files
from mmpretrain.registry import METRICS

from mmanchor import MASKED_TARGETS, PROTOCOLS, UNCERTAINTIES

collect_ignore = ['conftest.py']  # for doctests: it clashes with others


@pytest.fixture(scope='session')
def checkpoints(tmp_path_factory):
    return Checkpoints(tmp_path_factory.mktemp('checkpoints'))


@pytest.fixture
def sandbox(tmp_path, monkeypatch, checkpoints):
    """Lay a page's sandbox out, and go there."""
    shorten(monkeypatch)

    def enter(page):
        folder = tmp_path / 'clone'
        folder.mkdir()
        lay_out(folder, page)
        monkeypatch.chdir(folder)
        for path, config in THERE.get(page, {}).items():
            checkpoints.put(config, folder / path)
        return folder

    return enter


@pytest.fixture(autouse=True)
def _forget_what_pages_register(monkeypatch):
    """Two tests run the same examples, which would be there already."""
    for registry in (PROTOCOLS, UNCERTAINTIES, MASKED_TARGETS, METRICS):
        monkeypatch.setattr(
            registry, '_module_dict', dict(registry.module_dict)
        )
    yield
    for name in saved_files('contributing.md'):
        sys.modules.pop(name.removesuffix('.py'), None)
