import json
import re
import subprocess

from mmanchor.utils.console import write_json
from mmanchor.utils.provenance import commit


def test_the_commit_is_that_of_the_file_s_own_repository(tmp_path):

    def git(*arguments):
        subprocess.run(
            [
                'git',
                '-c',
                'user.name=a',
                '-c',
                'user.email=a@b.example',
                *arguments,
            ],
            cwd=tmp_path,
            check=True,
            capture_output=True,
        )

    path = tmp_path / 'own.py'
    path.write_text('1')
    git('init')
    assert commit(path) is None
    git('add', '.')
    git('commit', '-m', 'a')
    assert re.fullmatch('[0-9a-f]{40}', commit(path))
    path.write_text('2')
    assert re.fullmatch('[0-9a-f]{40}-dirty', commit(path))
    (tmp_path / 'other.py').touch()
    assert commit(tmp_path / 'other.py') is None
    assert commit(tmp_path / 'gone/own.py') is None


def test_json_is_never_half_written(tmp_path):
    write_json(dict(a=[1, None]), tmp_path / 'a.json')
    assert json.loads((tmp_path / 'a.json').read_text()) == dict(a=[1, None])
    assert [path.name for path in tmp_path.iterdir()] == ['a.json']
