"""A trained checkpoint for tests of several rooms: fixtures for conftests."""

import shutil

import pytest
from helpers.reference_runs import hook
from helpers.runs import config_maker
from mmengine.registry import init_default_scope
from mmengine.runner import Runner


@pytest.fixture(scope='session')
def trained_once(tmp_path_factory):
    """A checkpoint whose bank has 3 references."""
    folder = tmp_path_factory.mktemp('three')
    cfg = config_maker(folder)(epochs=1, **hook(num_references=3))
    init_default_scope('mmpretrain')
    Runner.from_cfg(cfg).train()
    return folder / 'work/epoch_1.pth'


@pytest.fixture
def checkpoint(trained_once, tmp_path):
    """A copy, for a test to do with as it likes."""
    return str(shutil.copy(trained_once, tmp_path / 'three.pth'))
