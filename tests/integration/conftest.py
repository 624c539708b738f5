"""Runs of a second, a trained checkpoint, and the host's tools."""

import runpy
import sys
from pathlib import Path

import mmpretrain
import pytest
from helpers.runs import config_maker, run, small_config  # noqa: F401
from mmengine.runner import Runner

collect_ignore = ['conftest.py']  # for doctests: it clashes with others
TOOLS = Path(mmpretrain.__file__).parent / '.mim' / 'tools'


@pytest.fixture(scope='session')
def trained(tmp_path_factory):
    """A config file and a checkpoint that holds three references."""
    folder = tmp_path_factory.mktemp('trained')
    cfg = config_maker(folder)(
        custom_hooks=[dict(type='KReferenceHook', num_references=3)],
        **{'train_cfg.max_epochs': 1},
    )
    Runner.from_cfg(cfg).train()
    cfg.experiment_name = None  # who reads the config runs anew
    cfg.dump(folder / 'config.py')
    return str(folder / 'config.py'), str(folder / 'work/epoch_1.pth')


@pytest.fixture
def tool(monkeypatch):
    """Run a tool in this process, as starting one takes seconds."""
    monkeypatch.setenv('LOCAL_RANK', '0')  # tools set it

    def call(path, *arguments):
        monkeypatch.setattr(sys, 'argv', ['tool', *map(str, arguments)])
        runpy.run_path(str(TOOLS / path), run_name='__main__')

    return call
