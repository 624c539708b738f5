"""MMEngine's own checkpoints load; others that want code don't."""

import pickle
import random
import re
import subprocess
import sys
from zipfile import ZipFile

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer, MessageHub
from mmengine.optim import OneCycleLR

from mmanchor.checkpoints.run_checkpoints import (
    _attribute,
    allow_run_checkpoints,
    safe_globals,
)


@pytest.fixture(autouse=True)
def allowed():
    """On the fork as well, whose own list is longer."""
    with torch.serialization.safe_globals(safe_globals()):
        yield
    allow_run_checkpoints()  # leaving the context takes them all away


def test_a_run_s_history_is_loaded_without_running_code(tmp_path):
    hub = MessageHub.get_instance(tmp_path.name)
    hub.update_scalar('loss', 1.5)
    hub.update_scalar('loss', np.float32(2.5))
    hub.update_info('iter', np.int64(3))
    path = tmp_path / 'run.pth'
    torch.save(dict(message_hub=hub.state_dict()), path)
    loaded = torch.load(path, weights_only=True)['message_hub']
    assert loaded['runtime_info']['iter'] == 3
    assert loaded['log_scalars']['loss'].data[0].tolist() == [1.5, 2.5]
    assert loaded['log_scalars']['loss'].statistics('max') == 2.5


class Attribute:
    """Pickles as a call of getattr on something else than a log's history."""

    def __reduce__(self):
        return getattr, (torch.nn.Linear, 'forward')


class Call:
    """Pickles as a call."""

    def __reduce__(self):
        return random.seed, (1,)


@pytest.mark.parametrize(
    'content', [Attribute(), Call()], ids=['attribute', 'call']
)
def test_a_checkpoint_that_wants_more_is_refused(content, tmp_path):
    path = tmp_path / 'run.pth'
    torch.save(dict(meta=content), path)
    with pytest.raises((pickle.UnpicklingError, ValueError)):
        torch.load(path, weights_only=True)


def test_a_new_process_loads_it_too(tmp_path):
    path = str(tmp_path / 'run.pth')
    hub = MessageHub.get_instance(tmp_path.name)
    hub.update_scalar('loss', 1.5)
    torch.save(dict(message_hub=hub.state_dict()), path)
    code = (
        'import torch\n'
        'from mmanchor.checkpoints.run_checkpoints import safe_globals\n'
        'torch.serialization.add_safe_globals(safe_globals())\n'
        f'hub = torch.load({path!r}, weights_only=True)["message_hub"]\n'
        'print(hub["log_scalars"]["loss"].statistics("current"))'
    )
    done = subprocess.run(
        [sys.executable, '-c', code], capture_output=True, text=True
    )
    assert done.stdout.split()[-1:] == ['1.5'], done.stderr


def test_a_one_cycle_schedule_is_loaded(tmp_path):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    scheduler = OneCycleLR(optimizer, eta_max=1.0, total_steps=5)
    torch.save(scheduler.state_dict(), tmp_path / 'run.pth')
    state = torch.load(tmp_path / 'run.pth', weights_only=True)
    scheduler.load_state_dict(state)


@pytest.mark.parametrize('core', ['core', '_core'])
def test_arrays_of_numpy_1_and_2_are_loaded(core, tmp_path):
    path = tmp_path / 'run.pth'
    torch.save(dict(array=np.arange(3.0), scalar=np.float64(2.0)), path)
    renamed = tmp_path / 'renamed.pth'
    with ZipFile(path) as old, ZipFile(renamed, 'w') as new:
        for name in old.namelist():
            content = re.sub(
                rb'numpy\._?core\.',
                b'numpy.%b.' % core.encode(),
                old.read(name),
            )
            new.writestr(name, content)
    assert b'numpy.%b.multiarray' % core.encode() in renamed.read_bytes()
    loaded = torch.load(renamed, weights_only=True)
    assert loaded['array'].tolist() == [0, 1, 2]
    assert loaded['scalar'] == 2


def test_only_what_checkpoints_ask_for_is_given():
    assert _attribute(HistoryBuffer, 'max') is HistoryBuffer.max
    for owner, name in ((HistoryBuffer, '__init__'), (pickle, 'max')):
        with pytest.raises(ValueError, match=f'schedulers only.*{name!r} of'):
            _attribute(owner, name)
