"""The command ``mmanchor``."""

import runpy
import subprocess
import sys
from pathlib import Path

import pytest

import mmanchor
import mmanchor_cli

TOOLS = Path(__file__).parents[1] / 'tools'


def printed_help(capsys, run):
    with pytest.raises(SystemExit, match='0'):
        run()
    return capsys.readouterr().out.split()  # lines wrap elsewhere


def test_every_tool_is_a_subcommand():
    tools = [tool for tool, _ in mmanchor_cli.COMMANDS.values()]
    assert sorted(tools) == sorted(path.name for path in TOOLS.glob('*.py'))


@pytest.mark.parametrize('name', mmanchor_cli.COMMANDS)
def test_a_subcommand_has_the_flags_of_its_tool(
    name, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, 'path', [*sys.path])
    tool, _ = mmanchor_cli.COMMANDS[name]
    monkeypatch.setattr(sys, 'argv', [tool, '--help'])
    expected = printed_help(
        capsys,
        lambda: runpy.run_path(str(TOOLS / tool), run_name='__main__'),
    )
    found = printed_help(capsys, lambda: mmanchor_cli.main([name, '--help']))
    assert found[:3] == ['usage:', 'mmanchor', name]
    assert found[3:] == expected[2:]


def test_help_names_every_command_and_imports_no_torch():
    code = (
        'import sys, mmanchor_cli; mmanchor_cli.main(sys.argv[1:]); '
        "assert not {'torch', 'mmanchor', 'mmengine'} & set(sys.modules)"
    )
    words = [sys.executable, '-c', code]
    told = [
        subprocess.run(
            [*words, *more],
            capture_output=True,
            text=True,
            check=True,
            cwd=TOOLS.parent,
        ).stdout
        for more in ([], ['--help'], ['--version'])
    ]
    assert told[0] == told[1]
    for name in (*mmanchor_cli.COMMANDS, 'configs'):
        assert f'\n  {name} ' in told[0]
    assert told[2] == f'mmanchor {mmanchor.__version__}\n'


@pytest.mark.parametrize(
    'name,advice',
    [
        ('trian', 'Did you mean `mmanchor train`?'),
        ('tools/strip_references.py', 'Did you mean `mmanchor strip`?'),
        ('xyzzy', 'See `mmanchor --help`.'),
    ],
)
def test_an_unknown_command_is_refused_with_the_nearest(name, advice, capsys):
    with pytest.raises(SystemExit) as caught:
        mmanchor_cli.main([name])
    assert caught.value.code == 2
    told = capsys.readouterr()
    assert f'but got {name!r}. {advice}' in told.err and not told.out


def test_a_config_that_comes_along_is_trained_by_its_name_from_any_folder(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, 'argv', [])
    mmanchor_cli.main(
        [
            'train',
            'digits/resnet18-w16_digits',
            '--no-validate',
            '--cfg-options',
            'train_cfg.max_epochs=1',
            'train_dataloader.dataset.indices=64',
        ]
    )
    found = tmp_path / 'work_dirs/resnet18-w16_digits'
    assert (found / 'epoch_1.pth').is_file()


def test_configs_are_listed_with_what_they_train(capsys):
    mmanchor_cli.main(['configs', 'digits', 'vit', 'anchored-masked'])
    assert capsys.readouterr().out == (
        'digits/vit-w64_anchored-masked_digits.py\n    A ViT of four layers '
        'and width 64 on the digits, with reference masking.\n'
    )
    mmanchor_cli.main(['configs'])
    told = capsys.readouterr().out
    assert 'imagenet/vit-base-p16_imagenet.py\n' in told
    assert '_base_' not in told and 'suites/' not in told
    mmanchor_cli.main(['configs', '--help'])
    assert 'usage: mmanchor configs [WORD ...]' in capsys.readouterr().out
    with pytest.raises(SystemExit, match='none has digits and xyzzy'):
        mmanchor_cli.main(['configs', 'digits', 'xyzzy'])


def test_a_clone_without_links_has_its_folders_beside_the_package(
    tmp_path, monkeypatch
):
    package = tmp_path / 'mmanchor'
    (package / '.mim').mkdir(parents=True)
    (package / '.mim' / 'tools').write_text('../../tools')
    monkeypatch.setattr(mmanchor_cli, '_package', lambda: package)
    assert mmanchor_cli._shipped('tools') == tmp_path / 'tools'
