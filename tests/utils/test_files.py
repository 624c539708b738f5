import argparse
import ast
import os
import runpy
import signal
import sys
from pathlib import Path

import pytest

from mmanchor.utils.files import whole_files


def test_files_are_moved_when_complete(tmp_path):
    with whole_files(tmp_path / 'a/b') as partial:
        (partial / 'one').write_text('1')
        assert not (tmp_path / 'a/b/one').exists()
    assert [path.name for path in (tmp_path / 'a/b').iterdir()] == ['one']


def test_an_error_does_not_change_existing_files(tmp_path):
    (tmp_path / 'one').write_text('old')
    with pytest.raises(RuntimeError), whole_files(tmp_path) as partial:
        (partial / 'one').write_text('half')
        raise RuntimeError
    assert (tmp_path / 'one').read_text() == 'old'
    assert len(list(tmp_path.iterdir())) == 1


def test_an_error_removes_a_new_folder(tmp_path):
    with pytest.raises(RuntimeError), whole_files(tmp_path / 'new') as partial:
        (partial / 'one').write_text('half')
        raise RuntimeError
    assert not list(tmp_path.iterdir())


def test_a_file_where_a_folder_is_needed_is_named(tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(ValueError, match='folder that can be.*file/new.*Name'):
        with whole_files(tmp_path / 'file/new'):
            pass


TOOLS = sorted((Path(__file__).parents[2] / 'tools').glob('*.py'))
PATHS = {
    'checkpoint',
    'config',
    'configs',
    'data_root',
    'labels',
    'models',
    'on',
    'out',
    'out_dir',
    'resume',
    'source',
    'study',
    'suite',
    'target',
    'work_dir',
}


class Parser(Exception):
    """Ends a tool where it would read its command line."""


@pytest.mark.parametrize('tool', TOOLS, ids=lambda path: path.stem)
def test_every_path_of_a_command_line_may_begin_with_a_tilde(
    tool, monkeypatch
):
    def caught(self, *_):
        raise Parser(self)

    monkeypatch.setattr(argparse.ArgumentParser, 'parse_args', caught)
    monkeypatch.setattr(signal, 'signal', lambda *_: None)
    monkeypatch.setattr(sys, 'path', list(sys.path))
    with pytest.raises(Parser) as found:
        runpy.run_path(str(tool), run_name='__main__')
    (parser,) = found.value.args
    taken = [
        action
        for action in parser._actions
        if action.dest in PATHS
        or str(action.metavar).startswith(('FILE', 'FOLDER'))
    ]
    assert taken
    expanded = os.path.expanduser('~/a')
    assert {
        action.dest: (action.type or str)('~/a') for action in taken
    } == dict.fromkeys((action.dest for action in taken), expanded)


SOURCES = [
    path
    for folder in ('mmanchor', 'tools')
    for path in (Path(__file__).parents[2] / folder).rglob('*.py')
]


def texts_in_any_encoding(source: str) -> list[str]:
    """Calls that read or write text in the encoding of the locale."""
    found = []
    for call in ast.walk(ast.parse(source)):
        if not isinstance(call, ast.Call):
            continue
        name = ast.unparse(call.func)
        words = {one.arg for one in call.keywords}
        opens = name == 'open' or name.endswith(('.read_text', '.write_text'))
        modes = [
            one.value
            for one in [*call.args, *(one.value for one in call.keywords)]
            if isinstance(one, ast.Constant)
            and one.value in ('rb', 'wb', 'r+b')
        ]
        if 'encoding' not in words and (
            (opens and not modes) or 'text' in words and 'run' in name
        ):
            found.append(ast.unparse(call))
    return found


def test_text_is_read_and_written_as_utf_8():
    assert texts_in_any_encoding("open('a')\npath.read_text()") == [
        "open('a')",
        'path.read_text()',
    ]
    found = {
        str(path): texts_in_any_encoding(path.read_text(encoding='utf-8'))
        for path in SOURCES
    }
    assert len(found) > 100
    assert {path: calls for path, calls in found.items() if calls} == {}
