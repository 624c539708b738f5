"""Names as parts of file names and of metrics."""

import re


def slug(name: str) -> str:
    """A name as part of a file's.

    Example:
        >>> slug('masked, α = 0.25')
        'masked-α-0-25'
    """
    return re.sub(r'\W+', '-', name).strip('-').lower()
