"""Flags that say how references are used at test."""

import argparse

from mmengine.config import Config

from ..datasets.reference_sampling import SELECT
from ..functional import check_uncertainty
from ..models.inference.protocols import build_protocol
from ..registry import UNCERTAINTIES
from ..utils.config import reference_hooks
from ..utils.files import user_path

_OF_HOOK = ('num_references', 'select', 'source', 'uncertainty')
_OF_PROTOCOL = ('protocol', 'num_candidates')


def add_reference_flags(
    parser: argparse.ArgumentParser, several: bool = False
) -> None:
    """Add the flags that say how references are used.

    Args:
        parser (argparse.ArgumentParser): Of a tool that tests.
        several (bool): Whether several K may be given, for a test each.
            Defaults to False.
    """
    group = parser.add_argument_group(
        'references', 'the config says it where a flag is left out'
    )
    group.add_argument(
        '--num-references',
        type=int,
        nargs='+' if several else None,
        metavar='K',
        help='references to average, or at most K with adaptive',
    )
    group.add_argument(
        '--protocol',
        metavar='NAME',
        help='mean over K; single: the first one; transduction: the best of '
        'M for each image; adaptive: as many as an image needs; or one that '
        'the config imports',
    )
    group.add_argument(
        '--num-candidates',
        type=int,
        metavar='M',
        help='candidates of transduction (default: 50)',
    )
    group.add_argument(
        '--select',
        choices=SELECT,
        help='draw other references than the checkpoint has: at random, per '
        'class, or the mean of all',
    )
    group.add_argument(
        '--source',
        type=user_path,
        metavar='FOLDER',
        help='draw other references than the checkpoint has, from a folder',
    )
    group.add_argument(
        '--uncertainty',
        nargs='+',
        metavar='NAME',
        help='measures that predictions (--out) carry: all, or some of '
        f'{", ".join(UNCERTAINTIES.module_dict)}, and of those that the '
        'config imports',
    )


def set_references(cfg: Config, args: argparse.Namespace) -> None:
    """Change a config's ``KReferenceHook`` as the flags say.

    Raises:
        ValueError: There is none, the protocol does not take
            ``--num-candidates`` or ``--num-references``, no protocol or
            measure has that name, or ``--uncertainty`` meets ``--tta``.
    """
    asked = {
        name: getattr(args, name)
        for name in (*_OF_HOOK, *_OF_PROTOCOL)
        if getattr(args, name) is not None
    }
    if not asked:
        return
    if args.tta and args.uncertainty:
        raise ValueError(
            'Expected --uncertainty without --tta, which merges '
            'the scores of its views and nothing else, but got '
            'both. Drop one.'
        )
    hooks = reference_hooks(cfg)
    if not hooks:
        flags = ', '.join('--' + name.replace('_', '-') for name in asked)
        raise ValueError(
            'Expected `KReferenceHook` in `custom_hooks` for '
            f'{flags} to change, but there is none.'
        )
    hook = hooks[0]
    hook.update({k: asked[k] for k in _OF_HOOK if k in asked})
    if 'all' in asked.get('uncertainty', ()):
        hook['uncertainty'] = 'all'
    check_uncertainty(hook.get('uncertainty', ()))
    if 'source' in asked or 'select' in asked:
        hook['redraw'] = True
    hook['protocol'] = _protocol(hook.get('protocol', 'mean'), args)


def _protocol(config, args) -> dict:
    """The config's protocol, with its arguments unless another is asked."""
    config = dict(type=config) if isinstance(config, str) else dict(config)
    if args.protocol not in (None, config['type']):
        config = dict(type=args.protocol)
    name = config['type']
    if args.num_candidates is not None:
        if name != 'transduction':
            raise ValueError(
                'Expected --num-candidates with the protocol '
                f"'transduction', but got {name!r}. Add "
                '--protocol transduction.'
            )
        config['num_candidates'] = args.num_candidates
    asked = args.num_references
    protocol = build_protocol(config)  # an unknown name is refused here
    needed = asked and protocol.references_needed(asked)
    if needed != asked:
        raise ValueError(
            f'Expected no --num-references with the protocol {name!r}, which '
            f'needs {needed}, but got {asked}. Drop it'
            f'{", or use --num-candidates." if needed > 1 else "."}'
        )
    return config
