"""ImageNet's classes by WordNet id, in the order of their indices."""

from functools import lru_cache
from pathlib import Path

FOLDER = Path(__file__).parent / 'wnids'


@lru_cache
def imagenet_wnids(subset: str = '') -> tuple[str, ...]:
    """The WordNet ids of ImageNet's classes, the first of index 0.

    Sorted, as are the class folders by which every library numbers them.

    Args:
        subset (str): ``''``: all 1,000; ``'r'`` or ``'a'``: the 200 of
            ImageNet-R or ImageNet-A. Defaults to ``''``.

    Returns:
        tuple[str]: As ``'n01440764'``.

    Raises:
        ValueError: ``subset`` is another word.

    Example:
        >>> wnids = imagenet_wnids()
        >>> len(wnids), wnids[0], len(imagenet_wnids('r'))
        (1000, 'n01440764', 200)

    Source: ILSVRC 2012's synsets; the subsets are the class folders of
    ImageNet-R and ImageNet-A (D. Hendrycks et al., 2021).
    """
    if subset not in ('', 'a', 'r'):
        raise ValueError(
            "Expected `subset` to be '', 'a' or 'r', but got "
            f'{subset!r}. Change it.'
        )
    name = f'imagenet_{subset}' if subset else 'imagenet'
    return tuple((FOLDER / f'{name}.txt').read_text(encoding='utf-8').split())
