"""What the README and the pages in docs/ show works."""
import re
import runpy
import shlex
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmpretrain.registry import MODELS

from mmanchor.engine import launch
from mmanchor.evaluation.suite.command import evaluate_parser
from mmanchor.models import AnchoredImageClassifier

ROOT = Path(__file__).parents[1]
README = (ROOT / 'README.md').read_text()
PAGES = {
    path.name: path.read_text()
    for path in (ROOT / 'README.md', *sorted((ROOT / 'docs').glob('*.md')))
}


def blocks(language, text=README):
    return re.findall(rf'^```{language}\n(.*?)^```', text, re.M | re.S)


def test_the_four_lines_as_shown_anchor_the_config_shown(tmp_path):
    diff, = blocks('diff')
    lines = diff.splitlines()
    assert sum(line.startswith('+') and len(line) > 1 for line in lines) == 4
    path = tmp_path / 'config.py'
    path.write_text('\n'.join(line[1:] for line in lines))
    cfg = Config.fromfile(path)
    model = MODELS.build(
        dict(cfg.model, data_preprocessor=cfg.data_preprocessor))
    assert isinstance(model, AnchoredImageClassifier)


def test_make_targets_are_there():
    shown = re.findall(r'^    make (\w+)', README, re.M)
    assert shown == ['demo', 'test']
    makefile = (ROOT / 'Makefile').read_text()
    for target in shown:
        assert re.search(rf'^{target}:', makefile, re.M)


def commands():
    text = '\n'.join(block for page in PAGES.values()
                     for block in blocks('bash', page))
    return [
        shlex.split(line[line.index('python tools/'):])[1:]
        for line in text.replace('\\\n', ' ').splitlines()
        if 'python tools/' in line
    ]


@pytest.mark.parametrize('command', commands(), ids=' '.join)
def test_commands_name_files_and_flags_that_exist(command):
    tool, *arguments = command
    assert (ROOT / tool).is_file()
    parser = {
        'train': launch.train_parser,
        'test': launch.test_parser,
        'evaluate': evaluate_parser
    }.get(Path(tool).stem)
    if parser is None:
        parser = runpy.run_path(str(ROOT / tool))['make_parser']
    args = parser().parse_args(arguments)
    configs = [
        getattr(args, 'config', None), *getattr(args, 'configs', []),
        *getattr(args, 'models', [])[::2]
    ]
    for config in configs:
        if str(config).startswith('configs/'):
            assert (ROOT / config).is_file()


def scripts():
    """Command lines of ``tools/*.sh``, from the script's name on."""
    text = '\n'.join(block for page in PAGES.values()
                     for block in blocks('bash', page))
    lines = text.replace('\\\n', ' ').splitlines()
    return [
        shlex.split(line[line.index('tools/'):]) for line in lines
        if re.search(r'tools/\w+\.sh', line)
    ]


@pytest.mark.parametrize('command', scripts(), ids=' '.join)
def test_scripts_exist_and_get_what_they_ask_for(command):
    script, *arguments = command
    text = (ROOT / script).read_text()
    wanted = int(re.search(r'^usage (\d) ', text, re.M)[1])
    assert len(arguments) >= wanted
    tool = re.search(r'(train|test)\.py', text)[1]
    flags = arguments[wanted:]
    positional = ['c.py', 'e.pth'][:1 + (tool == 'test')]
    parser = getattr(launch, f'{tool}_parser')()
    assert parser.parse_args([*positional, *flags])


@pytest.mark.parametrize('page', sorted(set(PAGES) - {'README.md'}))
def test_python_of_the_pages_runs(page, capsys):
    for code in blocks('python', PAGES[page]):
        exec(code, {})


def test_python_runs():
    names = {}
    for code in blocks('python'):
        exec(code, names)
    predicted = torch.stack([s.pred_logits for s in names['samples']])
    assert predicted.shape == (4, 10)
    torch.testing.assert_close(names['logits'], predicted)
    normalised = names['images'].float()
    assert names['both'](normalised).shape == (4, 10)


def test_hooks_of_a_base_are_kept_as_shown(tmp_path):
    line, = re.findall(r'`(custom_hooks = \[\*_base_.*?\])`', README)
    base = 'mmpretrain::convnext/convnext-tiny_32xb128_in1k.py'
    (tmp_path / 'c.py').write_text(f"_base_ = '{base}'\n{line}\n")
    hooks = Config.fromfile(tmp_path / 'c.py').custom_hooks
    assert [hook['type'] for hook in hooks] == ['EMAHook', 'KReferenceHook']


def test_settings_and_defaults_are_the_code_s():
    import inspect

    from mmanchor.engine import KReferenceHook
    from mmanchor.models import AnchoringDataPreprocessor
    from mmanchor.models.heads import ReferenceMasking
    classes = {
        c.__name__: c
        for c in (AnchoringDataPreprocessor, AnchoredImageClassifier,
                  KReferenceHook)
    }
    rows = re.findall(r'^\| (\S.*?|) ?\| `(\w+)` \| .* \| (.*?) \|$', README,
                      re.M)
    assert len(rows) == 14
    shown, real = [], []
    owner = ''
    for name, argument, default in rows:
        owner = name.strip('`') or owner
        arguments = inspect.signature(classes.get(owner,
                                                  ReferenceMasking)).parameters
        found = arguments[argument].default
        shown.append(default.strip('`'))
        real.append(shown[-1] if found is None else repr(found))
    assert shown == real


def test_the_matrix_is_summed_up_as_it_was_printed():
    line, = re.findall(r'^58 of 58 train.*$', PAGES['backbone-matrix.md'],
                       re.M)
    assert line in README
    assert PAGES['backbone-matrix.md'].count('_in1k') >= 56  # rows


def test_nothing_is_left_to_fill_in():
    assert not re.findall(r'@[A-Z]+@', '\n'.join(PAGES.values()))


def test_links_lead_somewhere():
    links = [(ROOT / ('docs' if name != 'README.md' else ''), path)
             for name, text in PAGES.items()
             for path in re.findall(r'\]\((?!http)([^)#]+)', text)]
    assert links
    for folder, path in links:
        assert (folder / path).exists(), path
