"""A folder in which the commands of a page can be run: a clone and data."""

import pickle
import runpy
import shutil
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import numpy as np
import torch
from helpers.shown_commands import ROOT, Shown, blocks, saved_files
from PIL import Image
from torch import nn
from torchvision import models

from mmanchor.engine.launch import train

# what a page takes as there already: checkpoint -> the config it is of
DIGITS = 'configs/digits/resnet18-w16{}_digits.py'
FOLDERS = 'configs/cifar10/resnet18-w16{}_cifar10-folders.py'
MASKED_DIGITS = {
    'work_dirs/resnet18-w16_anchored-masked_digits/epoch_40.pth': DIGITS.format(
        '_anchored-masked'
    )
}
THERE = {
    'README.md': {
        f'work_dirs/demo/resnet18-w16{kind}_digits/epoch_40.pth': DIGITS.format(
            kind
        )
        for kind in ('', '_anchored')
    },
    'cluster.md': {
        'work_dirs/my_config/epoch_200.pth': 'my_config.py',
        'work_dirs/my_run/epoch_200.pth': 'my_config.py',
    },
    'inference.md': {
        **MASKED_DIGITS,
        'work_dirs/masked/epoch_6.pth': FOLDERS.format('_anchored-masked'),
    },
    'quick-start.md': {'standard.pth': 'standard_config.py'},
}
CIFAR10 = (
    'airplane',
    'automobile',
    'bird',
    'cat',
    'deer',
    'dog',
    'frog',
    'horse',
    'ship',
    'truck',
)
NOT_LINKED = ('.git', 'build', 'data', 'evidence', 'work_dirs')
WNIDS = ('n01440764', 'n01443537')


def write_data(folder: Path) -> None:
    """Tiny sets in the layouts that pages name, of noise."""
    rng = np.random.default_rng(0)

    def images(count, size=32):
        return rng.integers(0, 256, (count, size, size, 3), dtype=np.uint8)

    def save(path, image):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)

    data = folder / 'data'
    for split, count in (('train', 2), ('test', 1)):
        for name in CIFAR10:
            for i, image in enumerate(images(count)):
                save(data / f'cifar10/{split}/{name}/{i:04}.png', image)
    names = [f'data_batch_{i}' for i in range(1, 6)]
    for batches, names, key in (
        ('cifar10/cifar-10-batches-py', [*names, 'test_batch'], 'labels'),
        ('cifar100/cifar-100-python', ['train', 'test'], 'fine_labels'),
    ):
        (data / batches).mkdir(parents=True)
        for name in names:
            rows = images(3).transpose(0, 3, 1, 2).reshape(3, -1)
            (data / batches / name).write_bytes(
                pickle.dumps({'data': rows, key: [*range(3)]})
            )
    for wnid in WNIDS:
        for i, image in enumerate(images(2, 256)):
            save(data / f'imagenet/val/{wnid}/{i}.JPEG', image)
    np.save(folder / 'images.npy', images(4))
    np.save(folder / 'labels.npy', np.arange(4))


def write_released(path: Path) -> None:
    """A checkpoint as the paper's authors save one, with random weights."""
    net = models.resnet18(num_classes=10)
    net.conv1 = nn.Conv2d(6, 64, 3, padding=1, bias=False)
    weights = {
        f'module.net.{name}': weight
        for name, weight in net.state_dict().items()
    }
    torch.save(dict(net=weights, epoch=199), path)


def lay_out(folder: Path, page: str) -> None:
    """A clone by links, the tiny sets, and the files that the page shows.

    Reports are written beside the cells of studies, so that only the cells
    are links.

    ``my_config.py`` is the README's, of four lines, unless the page shows
    another; ``standard_config.py`` is without them.
    """
    for path in ROOT.iterdir():
        if path.name not in NOT_LINKED:
            (folder / path.name).symlink_to(path)
    for cells in ROOT.glob('evidence/*/cells'):
        link = folder / cells.relative_to(ROOT)
        link.parent.mkdir(parents=True)
        link.symlink_to(cells)
    write_data(folder)
    if page == 'convert.md':
        write_released(folder / 'ckpt-199.pth')
    (diff,) = blocks('diff', 'README.md')
    lines = diff.splitlines()
    files = {
        'my_config.py': '\n'.join(line[1:] for line in lines),
        'standard_config.py': '\n'.join(
            line[1:] for line in lines if line[0] == ' '
        ),
        **saved_files(page),
    }
    for name, text in files.items():
        (folder / name).write_text(text)


class Checkpoints:
    """Trains each config once, for a moment, in a sandbox."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.trained = {}

    def put(self, config: str, path: Path) -> None:
        """Copy the checkpoint of a config, which is trained if need be."""
        if config not in self.trained:
            work_dir = self.folder / Path(config).stem
            train([config, '--work-dir', str(work_dir)])
            self.trained[config] = work_dir / 'epoch_1.pth'
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(self.trained[config], path)


class Failed(Exception):
    """A command that a page shows does not work."""


def run_tool(command: Shown, patch, log: Path) -> str:
    """Run ``python TOOL ...`` in this process, as starting one takes seconds.

    Returns:
        str: What it printed.

    Raises:
        Failed: It raised, or ended with a status; with what it printed.
    """
    patch.setattr(sys, 'argv', command.words[1:])
    folders = command.variables.get('PYTHONPATH', '').split(':')
    patch.setattr(sys, 'path', [*filter(None, folders), *sys.path])
    for name, value in {'LOCAL_RANK': '0', **command.variables}.items():
        patch.setenv(name, value)
    status = None
    with log.open('w') as file, redirect_stdout(file), redirect_stderr(file):
        try:
            runpy.run_path(command.words[1], run_name='__main__')
        except SystemExit as end:
            status = end.code
        except Exception as error:
            raise Failed(f'{command.text}\n{log.read_text()}') from error
    printed = log.read_text()
    if status:
        raise Failed(f'{command.text}\nended with {status}\n{printed}')
    return printed
