"""What every test starts from."""

import builtins

import pytest
import torch
from helpers.quicker_runs import (
    quicken_configs,
    quicken_datasets,
    quicken_workers,
)
from mmengine.registry import init_default_scope
from mmengine.visualization import Visualizer
from mmpretrain.visualization import UniversalVisualizer

import mmanchor  # noqa: F401

# imported by tests under their own names, and not collected
collect_ignore = ['conftest.py', 'helpers']
quicken_configs()
quicken_workers()


def pytest_collection_finish():
    quicken_datasets()


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)
    init_default_scope('mmpretrain')


@pytest.fixture(autouse=True)
def _no_visualizer_of_another_test():
    """Runs that begin in one second have one name: they would share one."""
    yield
    for kind in (Visualizer, UniversalVisualizer):
        kind._instance_dict.clear()


@pytest.fixture
def without_package(monkeypatch):
    """Make a package as good as not installed."""
    original = builtins.__import__

    def hide(package):

        def without(name, *args, **kwargs):
            if name.partition('.')[0] == package:
                raise ImportError(name)
            return original(name, *args, **kwargs)

        monkeypatch.setattr(builtins, '__import__', without)

    return hide
