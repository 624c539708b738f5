"""Commands and paths as they are shared."""

import os
import sys
from pathlib import Path

import pytest

from mmanchor.utils.provenance import (
    command_line,
    readable,
    shareable_path,
    without_folders,
)


def test_a_command_says_nothing_of_the_machine(monkeypatch, tmp_path):
    folder = tmp_path / 'alice'
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setattr(
        sys,
        'argv',
        [
            f'{folder}/tools/evaluate.py',
            'configs/a.py',
            str(tmp_path / 'bob' / 'epoch_1.pth'),
            '--data-root=~/data',
            '--out',
            '../alice/out',
            '--cfg-options',
            f'data_root={tmp_path}/bob/set',
            'optim_wrapper.optimizer.lr=0.1',
            'mmpretrain::resnet/resnet18_8xb16_cifar10.py',
        ],
    )
    assert command_line() == (
        "python tools/evaluate.py configs/a.py '…/epoch_1.pth' "
        "'--data-root=…/data' --out out --cfg-options "
        "'data_root=…/set' optim_wrapper.optimizer.lr=0.1 "
        'mmpretrain::resnet/resnet18_8xb16_cifar10.py'
    )


@pytest.mark.parametrize(
    'path, expected',
    [
        ('work_dirs/a.pth', 'work_dirs/a.pth'),
        ('/home/me/a.pth', '…/a.pth'),
        ('~/a.pth', '…/a.pth'),
        ('../../me/a.pth', '…/a.pth'),
        (os.path.join(os.getcwd(), 'b/a.pth'), 'b/a.pth'),
        (Path('a.pth'), 'a.pth'),
        ('+', '+'),
    ],
)
def test_paths_are_relative_or_their_last_part(path, expected):
    assert shareable_path(path) == expected


def test_messages_lose_absolute_folders():
    text = "[Errno 2] '/home/me/data/a': gone (/tmp/x/b); https://a.b/c/d"
    assert without_folders(text, {'/home/me': '…', '/': '!'}) == (
        "[Errno 2] '…/data/a': gone (…/b); https://a.b/c/d"
    )


def test_characters_that_the_locale_lacks_become_utf_8():
    assert readable('modèle') == 'modèle'
    assert readable(os.fsdecode('modèle'.encode())) == 'modèle'
    assert readable(b'mod\xe8le'.decode('ascii', 'surrogateescape')) == (
        'mod\ufffdle'
    )
