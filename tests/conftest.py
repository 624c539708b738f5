"""What every test starts from."""

import builtins

import pytest
import torch
from helpers.quicker_runs import (
    quicken_configs,
    quicken_datasets,
    quicken_logs,
    quicken_workers,
)
from mmengine.logging import MessageHub
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmengine.visualization import Visualizer
from mmpretrain.visualization import UniversalVisualizer

import mmanchor  # noqa: F401

# imported by tests under their own names, and not collected
collect_ignore = ['conftest.py', 'helpers']
quicken_configs()
quicken_workers()
quicken_datasets()
quicken_logs()


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)
    init_default_scope('mmpretrain')


@pytest.fixture(autouse=True)
def _runs_share_nothing(monkeypatch):
    """Runs that begin in the same second have the same name.

    MMEngine would give them one visualizer, and one message hub, in which the
    second finds the checkpoints that the first wanted to keep.
    """
    build = Runner.build_message_hub

    def build_anew(self, message_hub=None):
        MessageHub._instance_dict.pop(self._experiment_name, None)
        return build(self, message_hub)

    monkeypatch.setattr(Runner, 'build_message_hub', build_anew)
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
