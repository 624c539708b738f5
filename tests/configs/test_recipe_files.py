"""What recipes say, and that they are leaves."""

import re
import shlex

import pytest
from helpers.recipe_leaves import (
    FAMILIES,
    KINDS,
    LEAVES,
    ROOT,
    VARIANTS,
    leaf,
    read,
)
from mmpretrain.registry import HOOKS

from mmanchor import CONFIG_DIR
from mmanchor.engine import launch

PAGE = (ROOT / 'docs/recipes.md').read_text()


def docstring(name):
    text = (CONFIG_DIR / name).read_text()
    return re.match('"""(.*?)"""', text, re.S)[1]


def figure(name):
    """What a docstring says was published."""
    found = re.search(
        r'Published \(marks: docs/recipes.md\): top-1 (.*?)\. ',
        ' '.join(docstring(name).split()),
    )
    return found and found[1]


def test_there_is_nothing_else():
    there = {
        str(path.relative_to(CONFIG_DIR))
        for folder in ('cifar10', 'cifar100', 'imagenet')
        for path in (CONFIG_DIR / folder).glob('*.py')
    }
    small = {name for name in there if '/resnet18-w16' in name}
    assert there - small == {*LEAVES, *VARIANTS} and len(LEAVES) == 45


@pytest.mark.parametrize('name', [*LEAVES, *VARIANTS])
def test_a_recipe_is_a_leaf_with_its_figure_and_command(name):
    assert len((CONFIG_DIR / name).read_text().splitlines()) <= 25
    text = docstring(name)
    told = ' '.join(text.split())
    assert (
        'The paper has no figure' in told
        or re.search(r'Published.*%.* \[[PRFVT]\]', told)
        or 'published figures are' in told
    )
    tool, config, *flags = shlex.split(
        text[text.index('yet:') + 4 :].replace('\\\n', ' ')
    )[-4:]
    if tool == 'tools/dist_train.sh':
        assert flags.pop(0).isdigit()
    else:
        tool, config, *flags = config, *flags
        assert tool == 'tools/train.py'
    assert (ROOT / tool).is_file()
    assert config == f'configs/{name}'
    assert launch.train_parser().parse_args([config, *flags])
    cfg = read(name)
    assert f'{cfg.train_cfg.max_epochs} epochs' in text.splitlines()[0]


@pytest.mark.parametrize('family', FAMILIES)
def test_anchored_leaves_change_what_they_have_to(family):
    plain, anchored, masked = (read(leaf(family, kind)) for kind in KINDS)
    alpha = 0.2 if family[0] == 'imagenet' else 0.25
    assert anchored.data_preprocessor.mask_prob == 0
    assert masked.data_preprocessor.mask_prob == alpha
    masked.data_preprocessor.mask_prob = 0
    assert masked.to_dict() == anchored.to_dict()
    assert anchored.model.type == 'AnchoredImageClassifier'
    hook = anchored.custom_hooks.pop()
    assert hook.type == 'KReferenceHook'
    assert hook.num_references == (5 if family[0] == 'imagenet' else 1)
    assert HOOKS.build(hook)
    if not plain.get('custom_hooks'):
        assert anchored.pop('custom_hooks') == []
    anchored.model.type = plain.model.type
    assert (
        anchored.data_preprocessor.pop('type') == 'AnchoringDataPreprocessor'
    )
    del anchored.data_preprocessor['mask_prob']
    assert anchored.to_dict() == plain.to_dict()


@pytest.mark.parametrize('family', FAMILIES)
def test_the_page_has_the_figures_of_the_files(family):
    (row,) = re.findall(rf'^\| `configs/{leaf(family)}` \|(.*)\|$', PAGE, re.M)
    cells = [cell.strip() for cell in row.split('|')]
    assert len(cells) == 3
    told = [figure(leaf(family, kind)) or '–' for kind in KINDS]
    if family[2].endswith('-folders'):
        assert told == ['–'] * 3
        assert set(cells) == {'as published files'}
    else:
        assert cells == told


def test_the_page_names_files_that_exist():
    named = set(re.findall(r'configs/[\w./-]+\.(?:py|yml)', PAGE))
    assert len(named) >= len(FAMILIES)
    assert [name for name in named if not (ROOT / name).is_file()] == []


@pytest.mark.parametrize('end', ['', '-folders'])
def test_the_released_recipe_changes_what_the_authors_code_does(end):
    masked, released = (
        read(f'cifar10/resnet18_{kind}_cifar10{end}.py').to_dict()
        for kind in ('anchored-masked', 'anchored-masked-released')
    )
    assert released['model']['head'].pop('masked_target') == 'label'
    assert released['model'].pop('masked_norm_stats') == 'update'
    preprocessor = released['data_preprocessor']
    assert preprocessor.pop('mask_coin') == 'rank'
    assert preprocessor.pop('references') == dict(type='ReferenceSet')
    assert 'nesterov' not in released['optim_wrapper']['optimizer']
    assert released == masked


@pytest.mark.parametrize('end', ['', '-folders'])
def test_the_control_is_the_plain_recipe_but_for_subtracting(end):
    plain, control = (
        read(f'cifar10/resnet18_{kind}cifar10{end}.py').to_dict()
        for kind in ('', 'subtractive-mix_')
    )
    assert control['model'].pop('type') == 'SubtractiveMixImageClassifier'
    assert plain['model'].pop('type') == 'ImageClassifier'
    preprocessor = control['data_preprocessor']
    assert preprocessor.pop('type') == 'SubtractiveMixDataPreprocessor'
    assert preprocessor.pop('mask_prob') == 0.25
    assert control == plain
