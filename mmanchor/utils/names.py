"""Checks names, and writes them in messages and in names of files."""

import difflib
import inspect
import re
from collections.abc import Callable, Iterable


def did_you_mean(
    name: object,
    known: Iterable[object],
    otherwise: str = '',
    at_most: int = 1,
) -> str:
    """Suggest the known names that are most similar to an unknown one.

    Args:
        otherwise (str): The text to return if no known name is similar.
            Defaults to an empty one.

    Example:
        >>> did_you_mean('claen', ['clean', 'ece'], 'Change it.')
        "Did you mean 'clean'?"
        >>> did_you_mean('x', ['clean', 'ece'], 'Change it.')
        'Change it.'
    """
    near = difflib.get_close_matches(str(name), map(str, known), at_most)
    return ask_whether_meant(near) if near else otherwise


def ask_whether_meant(names: Iterable[str]) -> str:
    """Ask whether one of some known names was meant.

    Example:
        >>> ask_whether_meant(['layer3', 'layers'])
        "Did you mean 'layer3' or 'layers'?"
    """
    return f'Did you mean {" or ".join(map(repr, names))}?'


def named_arguments(*functions: Callable) -> tuple[str, ...]:
    """List the arguments that functions name.

    ``self``, ``*args`` and ``**kwargs`` are left out.

    Example:
        >>> named_arguments(lambda seed, *args, rate=1, **kwargs: None)
        ('seed', 'rate')
    """
    names: dict[str, None] = {}
    for function in functions:
        names.update(
            (one.name, None)
            for one in inspect.signature(function).parameters.values()
            if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)
            and one.name != 'self'
        )
    return tuple(names)


def constructors(kind: type) -> list[Callable]:
    """List the ``__init__`` of a class and of its bases, in this order."""
    return [
        vars(one)['__init__']
        for one in inspect.getmro(kind)
        if one is not object and '__init__' in vars(one)
    ]


def arguments(kind: Callable) -> tuple[str, ...] | None:
    """List the arguments of a class, with those that it passes to its bases.

    Returns:
        tuple: The names, or None if any name is accepted.

    Example:
        >>> class Base:
        ...     def __init__(self, seed=0):
        ...         pass
        >>> class Kind(Base):
        ...     def __init__(self, rate, **kwargs):
        ...         super().__init__(**kwargs)
        >>> arguments(Kind)
        ('rate', 'seed')
    """
    inits = constructors(kind) if isinstance(kind, type) else [kind]
    for count, init in enumerate(inits, 1):
        parameters = inspect.signature(init).parameters.values()
        if all(one.kind != one.VAR_KEYWORD for one in parameters):
            return named_arguments(*inits[:count])
    takes_any = inits or kind.__new__ is not object.__new__
    return None if takes_any else ()


def check_arguments(
    given: Iterable[str],
    kind: Callable,
    of: str | None = None,
    others: Iterable[str] = (),
) -> None:
    """Raise if a class or function does not take an argument.

    Args:
        of (str, optional): Its name in the error message. Defaults to None:
            the name of the class or function.
        others (Iterable[str]): Further names that are allowed. Defaults to
            none.

    Raises:
        TypeError: An argument is unknown.

    Example:
        >>> check_arguments(['rate'], lambda rate: None)
    """
    known = arguments(kind)
    if known is None:
        return
    others = set(others)
    for name in given:
        if name not in known and name not in others:
            raise TypeError(
                f'Expected arguments of {of or kind.__name__} to be among '
                f'{", ".join(known) or "none"}, but got {name}. '
                f'{did_you_mean(name, known, "Drop it.")}'
            )


def check_known(names: Iterable[str], known: Iterable[str], what: str) -> None:
    """Raise if a name is not among the known ones.

    Args:
        what (str): What the error calls them, such as ``'--only'``.

    Raises:
        ValueError: A name is unknown.

    Example:
        >>> check_known(['clean'], ['clean', 'ece'], '`metrics`')
    """
    known = list(known)
    for name in names:
        if name not in known:
            there = ', '.join(known)
            advice = did_you_mean(name, known, f'There is {there or "none"}.')
            raise ValueError(
                f'Expected {what} to be among {there}, but got {name!r}. '
                f'{advice}'
            )


def slug(name: str) -> str:
    """Turn a name into a part of a file name.

    Example:
        >>> slug('masked, α = 0.25')
        'masked-α-0-25'
    """
    return re.sub(r'\W+', '-', name).strip('-').lower()


def shorten_list(items: Iterable, at_most: int = 3) -> str:
    """Join the first few items with commas, and count the rest.

    Example:
        >>> shorten_list('abcde')
        'a, b, c and 2 more'
    """
    words = [str(item) for item in items]
    rest = len(words) - at_most
    return ', '.join(words[:at_most]) + (
        f' and {rest} more' if rest > 0 else ''
    )
