import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_configs_and_tools_travel_in_the_wheel(tmp_path):
    source = tmp_path / 'source'  # building leaves files behind
    shutil.copytree(
        ROOT,
        source,
        symlinks=True,
        ignore=shutil.ignore_patterns('.venv*', '.git', 'build', 'data',
                                      'work_dirs', '*.egg-info'))
    subprocess.run([
        sys.executable, '-m', 'pip', 'wheel', '--quiet', '--no-deps',
        '--no-build-isolation', '--wheel-dir',
        str(tmp_path),
        str(source)
    ],
                   check=True,
                   cwd=tmp_path)
    wheel, = tmp_path.glob('mmanchor-*.whl')
    packed = set(zipfile.ZipFile(wheel).namelist())
    for folder in ('configs', 'tools'):
        there = {
            f'mmanchor/.mim/{path.relative_to(ROOT)}'
            for path in (ROOT / folder).rglob('*.*')
            if path.suffix in ('.py', '.sh', '.sbatch')
        }
        assert there and there <= packed
    assert 'mmanchor/engine/launch.py' in packed
    assert 'mmanchor/datasets/wnids/imagenet.txt' in packed
    assert not any(name.startswith('tests') for name in packed)
