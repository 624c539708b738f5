"""Names in configs: which are known, and which was probably meant."""

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
    """Advice on a name that is not known: the nearest ones, if any is near.

    Args:
        name (object): What was written.
        known (Iterable[object]): The names that there are.
        otherwise (str): The advice where no name is near. Defaults to none.
        at_most (int): How many names to offer. Defaults to 1.

    Example:
        >>> did_you_mean('claen', ['clean', 'ece'], 'Change it.')
        "Did you mean 'clean'?"
        >>> did_you_mean('x', ['clean', 'ece'], 'Change it.')
        'Change it.'
    """
    near = difflib.get_close_matches(str(name), map(str, known), at_most)
    if not near:
        return otherwise
    return f'Did you mean {" or ".join(map(repr, near))}?'


def named_arguments(*functions: Callable) -> tuple[str, ...]:
    """The arguments that functions name, without ``self`` and ``**kwargs``.

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
    """The ``__init__`` of a class and of its bases, in the order of calls."""
    return [
        vars(one)['__init__']
        for one in inspect.getmro(kind)
        if one is not object and '__init__' in vars(one)
    ]


def arguments(kind: Callable) -> tuple[str, ...] | None:
    """What a class takes, with what it hands on to those it derives from.

    Args:
        kind (Callable): A class or a function.

    Returns:
        tuple: Names; None where any is taken.

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
    """Refuse arguments that a class, or function, does not take.

    Args:
        given (Iterable[str]): Names of arguments.
        kind (Callable): The class or function.
        of (str, optional): What the error calls it. Defaults to None: its
            name.
        others (Iterable[str]): Names that are taken out before it is called.
            Defaults to none.

    Raises:
        TypeError: There is no such argument.

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
        names (Iterable[str]): Names that a user wrote.
        known (Iterable[str]): The names that exist.
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

    Args:
        name (str): Any text.

    Example:
        >>> slug('masked, α = 0.25')
        'masked-α-0-25'
    """
    return re.sub(r'\W+', '-', name).strip('-').lower()
