"""Command-line flags that set how references are used at test."""

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
    """Add the flags that set how references are used.

    Args:
        several (bool): Whether ``--num-references`` takes several K, each of
            which is tested. Defaults to False.
    """
    group = parser.add_argument_group(
        'references', 'a flag that is left out does not change the config'
    )
    group.add_argument(
        '--num-references',
        type=int,
        nargs='+' if several else None,
        metavar='K',
        help='number of references to average; the most, with adaptive',
    )
    group.add_argument(
        '--protocol',
        metavar='NAME',
        help='mean: average over K; single: use the first one; transduction: '
        'use the best of M for each image; adaptive: use as many as an image '
        'needs; or a protocol that the config imports',
    )
    group.add_argument(
        '--num-candidates',
        type=int,
        metavar='M',
        help='number of candidates of transduction (default: 50)',
    )
    group.add_argument(
        '--select',
        choices=SELECT,
        help='draw new references instead of those in the checkpoint: at '
        'random, per class, or the mean of all images',
    )
    group.add_argument(
        '--source',
        type=user_path,
        metavar='FOLDER',
        help='draw new references from a folder instead of those in the '
        'checkpoint',
    )
    group.add_argument(
        '--uncertainty',
        nargs='+',
        metavar='NAME',
        help='measures of uncertainty in the predictions of --out: all, or '
        f'some of {", ".join(UNCERTAINTIES.module_dict)}, and of those that '
        'the config imports',
    )


def set_references(cfg: Config, args: argparse.Namespace) -> None:
    """Change the ``KReferenceHook`` of a config according to the flags.

    Raises:
        ValueError: The config has no ``KReferenceHook``, the protocol does
            not take ``--num-candidates`` or ``--num-references``, no protocol
            or measure has that name, or ``--uncertainty`` and ``--tta`` are
            combined.
    """
    flags = {
        name: getattr(args, name)
        for name in (*_OF_HOOK, *_OF_PROTOCOL)
        if getattr(args, name) is not None
    }
    if not flags:
        return
    if args.tta and args.uncertainty:
        raise ValueError(
            'Expected --uncertainty without --tta, which merges '
            'the scores of its views and nothing else, but got '
            'both. Drop one.'
        )
    hooks = reference_hooks(cfg)
    if not hooks:
        words = ', '.join('--' + name.replace('_', '-') for name in flags)
        raise ValueError(
            'Expected `KReferenceHook` in `custom_hooks` for '
            f'{words} to change, but there is none. Add it, or drop the flags.'
        )
    hook = hooks[0]
    hook.update({k: flags[k] for k in _OF_HOOK if k in flags})
    if 'all' in flags.get('uncertainty', ()):
        hook['uncertainty'] = 'all'
    check_uncertainty(hook.get('uncertainty', ()))
    if 'source' in flags or 'select' in flags:
        hook['redraw'] = True
    hook['protocol'] = _protocol(hook.get('protocol', 'mean'), args)


def _protocol(config, args) -> dict:
    """Return the config of the protocol after applying the flags.

    The arguments in the config are kept unless ``--protocol`` names another.
    """
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
    given = args.num_references
    protocol = build_protocol(config)  # raises if the name is unknown
    needed = given and protocol.references_needed(given)
    if needed != given:
        raise ValueError(
            f'Expected no --num-references with the protocol {name!r}, which '
            f'needs {needed}, but got {given}. Drop it'
            f'{", or use --num-candidates." if needed > 1 else "."}'
        )
    return config
