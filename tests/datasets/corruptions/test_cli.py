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


@pytest.fixture
def run_tool(array, tmp_path, monkeypatch):
    """Run the tool on the array."""

    def run(*flags):
        files = [array, tmp_path / 'out', '--labels', tmp_path / 'labels.npy']
        words = [TOOL, *files, '--workers', '1', *flags]
        monkeypatch.setattr(sys, 'argv', list(map(str, words)))
        runpy.run_path(TOOL, run_name='__main__')

    return run


def test_the_tool_writes_kinds_and_says_which(run_tool, tmp_path, capsys):
    run_tool('--kinds', 'fog')
    assert 'Written: fog' in capsys.readouterr().out
    assert np.load(tmp_path / 'out/fog.npy').shape == (10, 16, 16, 3)
    assert np.load(tmp_path / 'out/labels.npy').tolist() == [1, 0] * 5
    run_tool('--kinds', 'fog', 'contrast')
    shown = capsys.readouterr().out
    assert 'Written: contrast' in shown and 'There already: fog' in shown


@pytest.mark.parametrize(
    'flags, settings, more',
    [
        ([], 'imagenet-c', 0.1),
        (['--settings', 'cifar-c'], 'cifar-c', 0.05),
    ],
)
def test_the_tool_takes_settings_and_says_which(
    run_tool, tmp_path, capsys, flags, settings, more
):
    run_tool('--kinds', 'brightness', *flags)
    made = np.load(tmp_path / 'out/brightness.npy')
    assert (made[:2] == int(99 + 255 * more)).all()
    assert f'Settings: {settings}\n' in capsys.readouterr().out


def test_the_tool_refuses_other_settings(run_tool, capsys):
    with pytest.raises(SystemExit):
        run_tool('--settings', 'cifar')
    assert "'cifar'" in capsys.readouterr().err


def test_a_stopped_tool_says_how_to_go_on(run_tool, monkeypatch):

    def stop(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(
        'mmanchor.datasets.corruptions.cli.write_corrupted_set', stop
    )
    with pytest.raises(SystemExit, match='same command again to continue'):
        run_tool()


def make(folder, source, labels=None, size=None, console=None):
    """Write two kinds into the folder's ``out``."""
    kinds = ['contrast', 'pixelate']
    out = str(folder / 'out')
    make_corruptions(str(source), out, labels, size, kinds, 0, 1, console)


def test_time_left_is_shown_while_it_runs(tmp_path):
    path = tmp_path / 'source' / 'a' / 'one.png'
    path.parent.mkdir(parents=True)
    Image.new('RGB', (16, 16), (9, 90, 200)).save(path)
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=100)
    make(tmp_path, tmp_path / 'source', None, 14, console)
    shown = screen.getvalue()
    assert 'contrast' in shown and '%' in shown and 'left:' in shown
    assert 'Written: contrast, pixelate' in shown


def test_options_that_do_not_go_with_the_source(array, tmp_path):
    labels = str(tmp_path / 'labels.npy')
    with pytest.raises(FileNotFoundError, match='gone is not there. Change'):
        make(tmp_path, tmp_path / 'gone')
    with pytest.raises(ValueError, match='labels and no size.*labels=None'):
        make(tmp_path, array)
    with pytest.raises(ValueError, match='and size=24. Change .--labels'):
        make(tmp_path, array, labels, 24)
    with pytest.raises(ValueError, match='no labels with a folder.*Omit'):
        make(tmp_path, tmp_path, labels)


def test_two_runs_in_one_folder(array, tmp_path):
    out, labels = tmp_path / 'out', str(tmp_path / 'labels.npy')
    with only_run(out):
        with pytest.raises(ValueError, match='one: process .*name another'):
            make(tmp_path, array, labels)
        names = sorted(path.name for path in out.iterdir())
        assert names == ['.running', '.running.holder']
    make(tmp_path, array, labels)
    assert (out / 'contrast.npy').exists()
