"""Functions that ``torch.compile`` leaves as they are."""

from collections.abc import Callable
from typing import Any, TypeVar

import torch

Function = TypeVar('Function', bound=Callable)


def not_compiled(function: Function) -> Function:
    """Keep a function out of ``torch.compile``.

    It is :func:`torch.compiler.disable`, whose types hide what it returns.

    Example:
        >>> not_compiled(len)([1, 2])
        2
    """
    disable: Any = torch.compiler.disable
    return disable(function)
