"""Wording that several messages share."""

from collections.abc import Iterable


def shorten_list(items: Iterable, at_most: int = 3) -> str:
    """Join the first few items with commas, and count the rest.

    Args:
        items (Iterable): What to list, in this order.
        at_most (int): How many items to write out. Defaults to 3.

    Example:
        >>> shorten_list('abcde')
        'a, b, c and 2 more'
    """
    words = [str(item) for item in items]
    rest = len(words) - at_most
    return ', '.join(words[:at_most]) + (
        f' and {rest} more' if rest > 0 else ''
    )
