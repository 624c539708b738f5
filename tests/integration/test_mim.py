"""``mim train`` and ``mim test``; their tools run in this process."""

import runpy
import sys
from importlib import import_module
from types import SimpleNamespace

import pytest
import torch


@pytest.fixture
def mim(monkeypatch):
    """A command of mim."""
    monkeypatch.setenv('LOCAL_RANK', '0')  # tools set it

    def call(name, **arguments):
        # `mim` has functions of these names too
        module = import_module(f'mim.commands.{name}')

        def run_here(command, **_):
            monkeypatch.setattr(sys, 'argv', command[1:])
            runpy.run_path(command[1], run_name='__main__')
            return 0

        monkeypatch.setattr(
            module,
            'subprocess',
            SimpleNamespace(
                check_call=run_here,
                check_output=lambda command: b'help: there is no such flag',
            ),
        )
        return getattr(module, name)(
            package='mmpretrain', gpus=0, launcher='none', **arguments
        )

    return call


def test_mim_trains_and_tests(mim, small_config, tmp_path, capsys):
    cfg = small_config()
    cfg.experiment_name = None
    cfg.train_cfg.max_epochs = 1
    cfg.log_level = 'INFO'
    config = str(tmp_path / 'config.py')
    cfg.dump(config)
    success, message = mim(
        'train', config=config, other_args=('--work-dir', str(tmp_path / 'w'))
    )
    assert success, message
    checkpoint = str(tmp_path / 'w/epoch_1.pth')
    state = torch.load(checkpoint, weights_only=False)['state_dict']
    assert state['reference_bank.images'].shape == (10, 3, 16, 16)
    assert state['data_preprocessor.iteration'] == 4
    success, message = mim(
        'test',
        config=config,
        checkpoint=checkpoint,
        other_args=('--work-dir', str(tmp_path / 't')),
    )
    assert success, message
    assert 'accuracy/top1' in capsys.readouterr().out
