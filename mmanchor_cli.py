"""The command ``mmanchor``: every tool of mmanchor as a subcommand.

It is a module beside the package, because importing ``mmanchor`` imports
PyTorch and MMPretrain: ``mmanchor --help`` would take seconds.
"""

import ast
import difflib
import runpy
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

# For each subcommand, its script in `tools/` and what it does.
COMMANDS = {
    'train': ('train.py', 'train a model from a config'),
    'test': ('test.py', 'test a checkpoint'),
    'evaluate': (
        'evaluate.py',
        'measure checkpoints on a suite of corruptions and shifts',
    ),
    'browse': (
        'browse.py',
        'draw training batches as the network sees them',
    ),
    'study': ('study.py', 'train and measure a grid of settings and seeds'),
    'predict': (
        'predict.py',
        'predict image files: label, confidence and spread',
    ),
    'threshold': (
        'threshold.py',
        'find when a model should abstain, and prediction sets',
    ),
    'export': ('export.py', 'write an ONNX or torch.export file'),
    'fold': ('fold.py', 'write a model of one reference as a plain model'),
    'convert': (
        'convert_checkpoint.py',
        "rename torchvision's weights to MMPretrain's names",
    ),
    'strip': (
        'strip_references.py',
        'remove the reference images from a checkpoint',
    ),
    'check-backbone': (
        'check_backbone.py',
        'check that a config can be anchored',
    ),
    'check-masking': (
        'check_masking.py',
        'show what a model answers when its reference is blanked',
    ),
    'make-corruptions': (
        'make_corruptions.py',
        'corrupt images as ImageNet-C or CIFAR-10-C are',
    ),
    'demo': ('demo.py', 'train and compare three models on digits'),
    'benchmark': (
        'benchmark.py',
        'time standard against anchored models',
    ),
    'benchmark-ddp': (
        'benchmark_ddp.py',
        'time training steps of several processes',
    ),
}
CONFIGS = 'configs'


def main(argv: Sequence[str] | None = None) -> None:
    """Run the subcommand that the command line names.

    Args:
        argv (Sequence[str], optional): The subcommand and its arguments.
            Defaults to None: those of the process.

    Raises:
        SystemExit: With status 2, if there is no such subcommand; with that
            of the tool, if it is not 0.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    name, arguments = (argv[0], argv[1:]) if argv else ('--help', [])
    if name in ('-h', '--help'):
        print(_usage())
    elif name in ('-V', '--version'):
        print(f'mmanchor {_version()}')
    elif name == CONFIGS:
        _print_configs(arguments)
    elif name in COMMANDS:
        # Tools, and messages that name them, read `sys.argv`.
        sys.argv = [f'mmanchor {name}', *arguments]
        tool, _ = COMMANDS[name]
        names = runpy.run_path(str(_shipped('tools') / tool))
        status = names['main']()
        if status:
            sys.exit(status)
    else:
        sys.exit(_unknown(name))


def _usage() -> str:
    known = {
        **{name: text for name, (_, text) in COMMANDS.items()},
        CONFIGS: 'list the configs that come with mmanchor',
    }
    lines = [f'  {name:<18}{text}' for name, text in known.items()]
    return '\n'.join(
        [
            'usage: mmanchor COMMAND [arguments]',
            '',
            'Anchored training for image classifiers of MMPretrain.',
            '',
            'commands:',
            *lines,
            '',
            'options:',
            '  -h, --help        show this message, or the flags of a command',
            '  -V, --version     show the version',
            '',
            'A config is a file of your own, or one that comes with mmanchor,',
            'by its name in `mmanchor configs`. Example:',
            '  mmanchor train digits/resnet18-w16_anchored-masked_digits.py',
        ]
    )


def _unknown(name: str) -> int:
    """Print the most similar command to stderr, and return exit status 2."""
    by_tool = {
        Path(tool).stem.replace('_', '-'): one
        for one, (tool, _) in COMMANDS.items()
    }
    known = {**by_tool, **{one: one for one in (*COMMANDS, CONFIGS)}}
    stem = Path(name).stem.replace('_', '-').lower()
    close = difflib.get_close_matches(stem, known, 1)
    advice = (
        f'Did you mean `mmanchor {known[close[0]]}`?'
        if close
        else 'See `mmanchor --help`.'
    )
    print(
        f'Expected a command among {", ".join((*COMMANDS, CONFIGS))}, but got '
        f'{name!r}. {advice}',
        file=sys.stderr,
    )
    return 2


def _package() -> Path:
    """Return the folder of the package without importing it."""
    return Path(find_spec('mmanchor').origin).parent


def _version() -> str:
    return runpy.run_path(str(_package() / 'version.py'))['__version__']


def _shipped(name: str) -> Path:
    """Return the folder ``tools`` or ``configs``.

    A wheel has it in the package. A clone has a link to it there, or a text
    file on systems without links, such as Windows.
    """
    inside = _package() / '.mim' / name
    return inside if inside.is_dir() else _package().parent / name


def _print_configs(words: Sequence[str]) -> None:
    """Print the configs whose names contain all given words."""
    if any(word in ('-h', '--help') for word in words):
        print(
            'usage: mmanchor configs [WORD ...]\n\n'
            'List the configs that come with mmanchor and whose names have '
            'every WORD.'
        )
        return
    folder = _shipped('configs')
    names = [
        path.relative_to(folder).as_posix()
        for path in sorted(folder.rglob('*.py'))
    ]
    matches = [
        name
        for name in names
        if not name.startswith(('_base_/', 'studies/', 'suites/'))
        and all(word in name for word in words)
    ]
    if not matches:
        sys.exit(
            f'Expected words of names of configs, but none has '
            f'{" and ".join(words)}. `mmanchor configs` lists all.'
        )
    for name in matches:
        text = (folder / name).read_text(encoding='utf-8')
        about = (ast.get_docstring(ast.parse(text)) or '').partition('\n')[0]
        print(f'{name}\n    {about}')


if __name__ == '__main__':
    main()
