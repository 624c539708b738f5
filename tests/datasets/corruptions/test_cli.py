import io
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from mmanchor.datasets.corruptions.cli import make_corruptions
from mmanchor.utils.locks import only_run

TOOL = str(Path(__file__).parents[3] / 'tools' / 'make_corruptions.py')


@pytest.fixture
def array(tmp_path):
    np.save(tmp_path / 'images.npy', np.full((2, 16, 16, 3), 99, np.uint8))
    np.save(tmp_path / 'labels.npy', np.array([1, 0]))
    return tmp_path / 'images.npy'


def test_the_tool_writes_kinds_and_says_which(
    array, tmp_path, monkeypatch, capsys
):
    out = tmp_path / 'out'
    arguments = [
        TOOL,
        str(array),
        str(out),
        '--labels',
        str(tmp_path / 'labels.npy'),
        '--workers',
        '1',
        '--kinds',
        'fog',
    ]
    monkeypatch.setattr(sys, 'argv', arguments)
    runpy.run_path(TOOL, run_name='__main__')
    assert 'Written: fog' in capsys.readouterr().out
    assert np.load(out / 'fog.npy').shape == (10, 16, 16, 3)
    assert np.load(out / 'labels.npy').tolist() == [1, 0] * 5
    monkeypatch.setattr(sys, 'argv', [*arguments, 'contrast'])
    runpy.run_path(TOOL, run_name='__main__')
    shown = capsys.readouterr().out
    assert 'Written: contrast' in shown and 'There already: fog' in shown


@pytest.mark.parametrize(
    'flags, settings',
    [
        ([], 'imagenet-c'),
        (['--settings', 'cifar-c'], 'cifar-c'),
        (['--settings', 'imagenet-c'], 'imagenet-c'),
    ],
)
def test_the_tool_takes_settings_and_says_which(
    array, tmp_path, monkeypatch, capsys, flags, settings
):
    out = tmp_path / 'out'
    monkeypatch.setattr(
        sys,
        'argv',
        [
            TOOL,
            str(array),
            str(out),
            '--labels',
            str(tmp_path / 'labels.npy'),
            '--workers',
            '1',
            '--kinds',
            'brightness',
            *flags,
        ],
    )
    runpy.run_path(TOOL, run_name='__main__')
    more = {'imagenet-c': 0.1, 'cifar-c': 0.05}[settings]
    expected = int(99 + 255 * more)
    assert (np.load(out / 'brightness.npy')[:2] == expected).all()
    assert f'Settings: {settings}\n' in capsys.readouterr().out


def test_the_tool_refuses_other_settings(array, monkeypatch, capsys):
    monkeypatch.setattr(
        sys, 'argv', [TOOL, str(array), 'out', '--settings', 'cifar']
    )
    with pytest.raises(SystemExit):
        runpy.run_path(TOOL, run_name='__main__')
    assert "'cifar'" in capsys.readouterr().err


def test_a_stopped_tool_says_how_to_go_on(array, tmp_path, monkeypatch):

    def stop(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(
        'mmanchor.datasets.corruptions.cli.write_corrupted_set', stop
    )
    monkeypatch.setattr(
        sys,
        'argv',
        [
            TOOL,
            str(array),
            str(tmp_path / 'out'),
            '--labels',
            str(tmp_path / 'labels.npy'),
        ],
    )
    with pytest.raises(SystemExit, match='same command again to continue'):
        runpy.run_path(TOOL, run_name='__main__')


def test_time_left_is_shown_while_it_runs(tmp_path):
    path = tmp_path / 'source' / 'a' / 'one.png'
    path.parent.mkdir(parents=True)
    Image.new('RGB', (16, 16), (9, 90, 200)).save(path)
    screen = io.StringIO()
    make_corruptions(
        str(tmp_path / 'source'),
        str(tmp_path / 'out'),
        None,
        14,
        ['contrast', 'pixelate'],
        0,
        1,
        Console(file=screen, force_terminal=True, width=100),
    )
    shown = screen.getvalue()
    assert 'contrast' in shown and '%' in shown and 'left:' in shown
    assert 'Written: contrast, pixelate' in shown


def test_options_that_do_not_go_with_the_source(array, tmp_path):

    def run(source, labels=None, size=None):
        make_corruptions(
            str(source), str(tmp_path / 'out'), labels, size, ['fog'], 0, 1
        )

    with pytest.raises(FileNotFoundError, match='gone is not there. Change'):
        run(tmp_path / 'gone')
    with pytest.raises(ValueError, match='labels and no size.*labels=None'):
        run(array)
    with pytest.raises(ValueError, match='and size=24. Change .--labels'):
        run(array, str(tmp_path / 'labels.npy'), 24)
    with pytest.raises(ValueError, match='no labels with a folder.*Omit'):
        run(tmp_path, str(tmp_path / 'labels.npy'))


def test_two_runs_in_one_folder(array, tmp_path):
    out = tmp_path / 'out'

    def run():
        make_corruptions(
            str(array),
            str(out),
            str(tmp_path / 'labels.npy'),
            None,
            ['fog'],
            0,
            1,
        )

    with only_run(out):
        with pytest.raises(ValueError, match='one: process .*name another'):
            run()
        names = sorted(path.name for path in out.iterdir())
        assert names == ['.running', '.running.holder']
    run()
    assert (out / 'fog.npy').exists()
