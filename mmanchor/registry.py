"""What users may add to anchoring under names of their own.

Models, datasets, hooks and metrics are in MMPretrain's registries. These are
for what MMPretrain has no word for.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from mmengine.registry import Registry

from .utils.names import check_arguments, did_you_mean

# fields that predictions have already, and the word for all measures
_TAKEN = (
    'all',
    'gt_label',
    'gt_score',
    'num_references',
    'pred_label',
    'pred_logits',
    'pred_score',
    'pred_std',
    'reference_masked',
)

Kind = TypeVar('Kind')


def find_registered(kind: str | Callable | None, registry: Registry):
    """What is registered by a name.

    Args:
        kind (str | Callable, optional): The name; or a class itself, as
            new-style configs have it, which is returned.
        registry (Registry): Where to look.

    Raises:
        ValueError: Nothing has that name.

    Example:
        >>> find_registered('mean', PROTOCOLS).__name__
        'Mean'
    """
    if callable(kind):
        return kind
    known = registry.module_dict
    name = str(kind).removeprefix(f'{registry.scope}.')
    if name in known:
        return known[name]
    if '.' in name:  # where to import it from: a new-style config, written out
        try:
            found = registry.get(name)
        except RuntimeError:
            found = None
        if found is not None:
            return found
    form = (
        ', or a dict with one as `type`'
        if registry.build_func is build_registered
        else ''
    )
    raise ValueError(
        f'Expected the {registry.name} to be '
        f'{", ".join(map(repr, known))}{form}, but got {kind!r}. '
        + did_you_mean(
            name,
            known,
            'Register your own in a module that `custom_imports` names.',
        )
    )


def build_registered(config: str | dict, registry: Registry):
    """Build by name, or by name and arguments.

    Args:
        config (str | dict): A name, or a dict with one as ``type`` and the
            arguments.
        registry (Registry): Where to look.

    Raises:
        TypeError: There is no such argument.
        ValueError: Nothing has that name.

    Example:
        >>> build_registered(
        ...     dict(type='transduction', num_candidates=5), PROTOCOLS
        ... ).num_candidates
        5
    """
    arguments = {'type': config} if isinstance(config, str) else dict(config)
    name = arguments.pop('type', None)
    kind = find_registered(name, registry)
    if not isinstance(name, str):
        name = kind.__name__
    check_arguments(arguments, kind, f'the {registry.name} {name!r}')
    return kind(**arguments)


def build_instance(base: type[Kind], config: Any, registry: Registry) -> Kind:
    """Build an instance of a base class; return one as it is.

    Args:
        base (type): The class that everything in the registry derives from.
        config (str | dict | object): A name, a dict with one as ``type`` and
            the arguments, or an instance.
        registry (Registry): Where to look.

    Raises:
        TypeError: The name belongs to something else, or it does not take an
            argument.
        ValueError: Nothing has that name.
    """
    if isinstance(config, base):
        return config
    built = build_registered(config, registry)
    if not isinstance(built, base):
        package = '.'.join(base.__module__.split('.')[:2])
        raise TypeError(
            f'Expected a {registry.name} to be a subclass of {base.__name__}, '
            f'but got {type(built).__name__}. Derive it from '
            f'`{package}.{base.__name__}`.'
        )
    return built


def registered_name(kind: type, registry: Registry) -> str:
    """The first name that a class has in a registry; else its own.

    Example:
        >>> registered_name(PROTOCOLS.get('mean'), PROTOCOLS)
        'mean'
    """
    names = [name for name, one in registry.module_dict.items() if one is kind]
    return names[0] if names else kind.__name__


class UncertaintyRegistry(Registry):
    """A registry of functions that remembers which depend on the spread."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self._of_spread: dict[str, bool] = {}

    def register_module(
        self,
        name: str | Sequence[str] | None = None,
        force: bool = False,
        module: Callable | None = None,
        of_spread: bool = True,
    ):
        """Register a measure, as a decorator or with ``module``.

        Args:
            name (str | Sequence[str], optional): What configs call it, and
                the field of predictions. Defaults to None: the function's
                name.
            force (bool): Whether to replace one of that name. Defaults to
                False.
            module (Callable, optional): From logits (K, B, num_classes) to
                (B, ...). Defaults to None: what is decorated.
            of_spread (bool): Whether its values depend on how many references
                there are, as a standard deviation does. Such measures are
                refused with protocols that answer images with unlike numbers
                of references. Defaults to True.

        Raises:
            KeyError: There is a measure of that name.
            ValueError: Predictions have a field of that name.
        """

        def register(module):
            names = (
                [module.__name__]
                if name is None
                else [name]
                if isinstance(name, str)
                else list(name)
            )
            for one in names:
                if one in _TAKEN:
                    raise ValueError(
                        f'Expected a name for the {self.name} that '
                        f'predictions do not have yet, but got {one!r}. '
                        'Register it by another name.'
                    )
            super(UncertaintyRegistry, self).register_module(
                names, force, module
            )
            self._of_spread.update(dict.fromkeys(names, of_spread))
            return module

        return register if module is None else register(module)

    def is_of_spread(self, name: str) -> bool:
        """Whether a measure depends on how many references there are."""
        return self._of_spread.get(name, True)


PROTOCOLS = Registry('protocol', build_func=build_registered, scope='mmanchor')
"""How references are used at test: subclasses of
:class:`~mmanchor.models.Protocol`."""

UNCERTAINTIES = UncertaintyRegistry('measure of uncertainty', scope='mmanchor')
"""Measures that predictions may carry: functions from logits
(K, B, num_classes) to (B, ...)."""

MASKED_TARGETS = Registry(
    'masked target', build_func=build_registered, scope='mmanchor'
)
"""What rows with a blanked reference answer to: subclasses of
:class:`~mmanchor.functional.MaskedTarget`."""
