import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope='module')
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp('wheel')
    source = folder / 'source'  # building leaves files behind
    shutil.copytree(
        ROOT,
        source,
        symlinks=True,
        ignore=shutil.ignore_patterns(
            '.venv*', '.git', 'build', 'data', 'work_dirs', '*.egg-info'
        ),
    )
    subprocess.run(
        [
            sys.executable,
            '-m',
            'pip',
            'wheel',
            '--quiet',
            '--no-deps',
            '--no-build-isolation',
            '--wheel-dir',
            str(folder),
            str(source),
        ],
        check=True,
        cwd=folder,
    )
    (found,) = folder.glob('mmanchor-*.whl')
    return found


def test_configs_and_tools_travel_in_the_wheel(wheel):
    packed = set(zipfile.ZipFile(wheel).namelist())
    for folder in ('configs', 'tools'):
        there = {
            f'mmanchor/.mim/{path.relative_to(ROOT)}'
            for path in (ROOT / folder).rglob('*.*')
            if path.suffix in ('.py', '.yml', '.sh', '.sbatch')
        }
        assert there and there <= packed
    assert 'mmanchor/.mim/model-index.yml' in packed
    assert 'mmanchor/engine/launch.py' in packed
    assert 'mmanchor_cli.py' in packed
    assert 'mmanchor/py.typed' in packed
    assert 'mmanchor/datasets/shifts/wnids/imagenet.txt' in packed
    assert not any(name.startswith('tests') for name in packed)


@pytest.fixture(scope='module')
def site(wheel, tmp_path_factory):
    """A folder that the wheel is installed to."""
    site = tmp_path_factory.mktemp('installed') / 'site'
    subprocess.run(
        [
            sys.executable,
            '-m',
            'pip',
            'install',
            '--quiet',
            '--no-deps',
            '--no-index',
            '--target',
            str(site),
            str(wheel),
        ],
        check=True,
    )
    return site


def test_the_installed_command_finds_its_configs_without_the_clone(
    site, tmp_path
):
    done = subprocess.run(
        [site / 'bin' / 'mmanchor', 'configs', 'vit', 'masked_digits'],
        check=True,
        cwd=tmp_path,
        env=dict(os.environ, PYTHONPATH=str(site)),
        capture_output=True,
        text=True,
    )
    assert done.stdout.startswith('digits/vit-w64_anchored-masked_digits.py')


def test_mim_searches_the_installed_package(site, tmp_path):
    root = site / 'mmanchor' / '.mim'
    if 'onedl-mim' in {d.name for d in metadata.distributions()}:
        # it looks for a wheel's files in its dist-info, but knows what
        # `pip install -e` leaves
        (info,) = site.glob('mmanchor-*.dist-info')
        (info / 'direct_url.json').write_text(
            json.dumps(dict(url=ROOT.as_uri(), dir_info=dict(editable=True)))
        )
        root = ROOT
    (shown,) = re.findall(
        r'^mim (search mmanchor .*)$',
        (ROOT / 'docs/recipes.md').read_text(),
        re.M,
    )
    found = tmp_path / 'found.json'
    subprocess.run(
        [
            sys.executable,
            '-m',
            'mim',
            *shlex.split(shown),
            '--json',
            str(found),
        ],
        check=True,
        cwd=tmp_path,
        env=dict(os.environ, PYTHONPATH=str(site)),
    )
    fields = json.loads(found.read_text())
    name = 'wrn-40-2_anchored_cifar100'
    assert fields['epochs'][name] == 200
    assert set(fields) == {'epochs', 'batch_size', 'parameters', 'config'}
    assert len(fields['config']) == 6
    assert (root / fields['config'][name]).is_file()
