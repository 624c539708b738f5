"""Import and training of one process where POSIX is missing, as on Windows."""

import subprocess
import sys
from pathlib import Path

import pytest

from mmanchor import CONFIG_DIR

ROOT = Path(__file__).parents[2]
# what Windows lacks is removed after the host and PyTorch are there, which
# know the system that they run on
SCRIPT = """
import builtins, os, platform, shutil, signal, sys, tempfile
import mmpretrain.apis, sklearn.datasets, torch, torchvision, rich.console
import mmengine.runner, mmpretrain.datasets, mmpretrain.evaluation
import mmpretrain.models

missing = {'fcntl', 'resource', 'pwd', 'grp', 'termios'}
for name in list(sys.modules):
    if name in missing or name.partition('.')[0] in ('filelock', 'mmanchor'):
        del sys.modules[name]
original = builtins.__import__


def without(name, *args, **kwargs):
    if name.partition('.')[0] in missing:
        raise ModuleNotFoundError(name, name=name)
    return original(name, *args, **kwargs)


def refuse_folders(path, flags, *args, **kwargs):
    if os.path.isdir(path):
        raise PermissionError(13, 'Permission denied', path)
    return opened(path, flags, *args, **kwargs)


def refuse_links(*args, **kwargs):
    raise OSError(1314, 'A required privilege is not held by the client')


def refuse_flush(handle):
    flags = control(handle, F_GETFL)
    if not flags & (os.O_RDWR | os.O_WRONLY):
        raise OSError(9, 'Bad file descriptor')
    flush(handle)


from fcntl import F_GETFL, fcntl as control
opened, flush = os.open, os.fsync
builtins.__import__ = without
# as they are there
shutil._use_fd_functions = tempfile._O_TMPFILE_WORKS = False
os.open, os.fsync, os.symlink = refuse_folders, refuse_flush, refuse_links
for name in ('SIGUSR1', 'SIGUSR2', 'SIGHUP', 'SIGKILL', 'SIGALRM'):
    delattr(signal, name)
for name in (
    'fork forkpty getpgid setsid killpg register_at_fork '
    'posix_fallocate wait3 wait4'
).split():
    delattr(os, name)

platform.system = lambda: 'Windows'  # so that the host leaves it out, too

import mmanchor

print('imported', flush=True)
from mmanchor.engine.launch import train

config = 'digits/resnet18-w16_anchored-masked_digits'
flags = [
    config, '--no-validate', '--work-dir', sys.argv[1], '--cfg-options',
    'train_dataloader.dataset.indices=64', 'train_dataloader.batch_size=32',
    'train_dataloader.num_workers=0', 'train_dataloader.persistent_workers=0',
    'default_hooks.checkpoint.interval=1',
]
train([*flags, 'train_cfg.max_epochs=1'])
train([*flags, 'train_cfg.max_epochs=2', *('--resume',)])
print('trained', flush=True)
"""


@pytest.mark.slow
def test_import_training_and_resuming_need_no_posix(tmp_path):
    done = subprocess.run(
        [sys.executable, '-c', SCRIPT, str(tmp_path / 'work')],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert not done.returncode, done.stderr[-5000:]
    # nothing of the host's import is on stdout, which is the program's
    assert 'imported\n' in done.stdout
    assert done.stdout.endswith('trained\n')
    assert 'resumed epoch: 1, iter: 2' in done.stdout
    names = {path.name for path in (tmp_path / 'work').iterdir()}
    assert {'epoch_1.pth', 'epoch_2.pth', 'last_checkpoint'} <= names
    assert CONFIG_DIR.is_dir()
