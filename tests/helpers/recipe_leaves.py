"""The recipes, by what they have in common."""

import copy
import functools
from pathlib import Path

from mmengine.config import Config

from mmanchor import CONFIG_DIR

ROOT = Path(__file__).parents[2]
KINDS = ('', '_anchored', '_anchored-masked')
# folder, what a recipe's three files start with and what they end with
FAMILIES = [
    *(
        (f'cifar{n}', model, f'cifar{n}')
        for n in (10, 100)
        for model in ('resnet18', 'wrn-40-2')
    ),
    *((f'cifar{n}', 'resnet18', f'cifar{n}-folders') for n in (10, 100)),
    *(
        ('cifar100', f'resnet18-{name}', 'cifar100')
        for name in ('trivialaugment', 'randaugment', 'pixmix')
    ),
    *(
        ('imagenet', model, 'imagenet')
        for model in (
            'swinv2-tiny',
            'swinv2-small',
            'swinv2-base',
            'vit-base-p16',
            'deit-small',
            'regnety-800mf',
        )
    ),
]
CIFAR_FAMILIES = [family for family in FAMILIES if family[0] != 'imagenet']


def leaf(family, kind='') -> str:
    """The name of a recipe's file."""
    folder, model, data = family
    return f'{folder}/{model}{kind}_{data}.py'


LEAVES = [leaf(family, kind) for family in FAMILIES for kind in KINDS]
# recipes that are no family's: the authors' code, and the control
VARIANTS = [
    f'cifar10/resnet18_{kind}_cifar10{end}.py'
    for kind in ('anchored-masked-released', 'subtractive-mix')
    for end in ('', '-folders')
]


@functools.cache
def _read(path):
    return Config.fromfile(path)


def read(name) -> Config:
    """A config in the folder of configs, parsed once."""
    return copy.deepcopy(_read(CONFIG_DIR / name))
