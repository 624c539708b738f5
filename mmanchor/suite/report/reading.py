"""What the models of a suite's results have, whichever of them has it."""

from ...datasets.shifts.kinds import SETTINGS
from .table import with_interval


def names_of(results: dict, group: str) -> list[str]:
    """The sets that any model was measured on, in order.

    Args:
        results (dict): See ``results.json``.
        group (str): ``'shifts'`` or ``'ood'``.

    Example:
        >>> names_of({'models': [{'ood': {}}, {'ood': {'NINCO': {}}}]}, 'ood')
        ['NINCO']
    """
    return list(
        dict.fromkeys(
            name
            for model in results['models']
            for name in model.get(group) or ()
        )
    )


def shift(model: dict, name: str) -> dict:
    """A model's figures on a shifted set, empty if it has none."""
    return (model.get('shifts') or {}).get(name) or {}


def clean(model: dict) -> dict:
    """A model's figures on clean images, empty if it has none."""
    return (model.get('clean') or {}).get('figures') or {}


def kinds_of(results: dict, name: str) -> list[str]:
    """Kinds of a corrupted set that any model has, in order."""
    return list(
        dict.fromkeys(
            kind
            for model in results['models']
            for part in ('by_kind', 'cells')
            for kind in shift(model, name).get(part) or ()
        )
    )


def severities_of(results: dict, name: str) -> list[str]:
    """Severities of a corrupted set that any model has, from low to high."""
    found = {
        severity
        for model in results['models']
        for severity in shift(model, name).get('by_severity') or ()
    }
    return sorted(found, key=float)


def corruptions(results: dict, name: str) -> str:
    """Which corruptions a set has, with their settings, in a few words.

    Args:
        results (dict): See ``results.json``.
        name (str): Of a set with kinds and severities.
    """
    return corruption_words(
        len(kinds_of(results, name)),
        len(severities_of(results, name)),
        results.get('corruptions', {}).get(name),
    )


def corruption_words(kinds: int, severities: int, about: dict | None) -> str:
    """What corrupted sets have to be named with, for captions.

    Args:
        kinds (int): How many.
        severities (int): How many.
        about (dict, optional): See
            :func:`~mmanchor.suite.corrupted_sets.describe_corruptions`;
            None where settings don't apply.

    Example:
        >>> corruption_words(19, 5, dict(settings='cifar-c', images=2000))
        "19 kinds × 5 severities, CIFAR-C's settings, of 2,000 images"
        >>> corruption_words(1, 1, dict(settings=None, images=None))
        '1 kind × 1 severity, settings not recorded'
    """
    words = (
        f'{kinds} kind{"s" * (kinds > 1)} × {severities} '
        f'severit{"ies" if severities > 1 else "y"}'
    )
    if about is None:
        return words
    words += ', ' + SETTINGS.get(about['settings'], 'settings not recorded')
    if about['images'] is not None:
        words += f', of {about["images"]:,} images'
    return words


def corrupted_sets(results: dict) -> list[str]:
    """Those of the shifted sets that have severities."""
    return [
        name
        for name in names_of(results, 'shifts')
        if severities_of(results, name)
    ]


def figure_of(figures: dict[str, float] | None, name: str) -> float | None:
    """A figure that may not be there."""
    return (figures or {}).get(name)


def default_score(model: dict, name: str) -> str | None:
    """The first of a model's anomaly scores on a set."""
    return next(iter(scores(model, name)), None)


def scores(model: dict, name: str) -> dict[str, dict]:
    """A model's figures on a set out of distribution, by score."""
    return ((model.get('ood') or {}).get(name) or {}).get('scores') or {}


def groups_of(results: dict) -> dict[str, list[str]]:
    """The sets of each group out of distribution that has any.

    Args:
        results (dict): See ``results.json``.

    Example:
        >>> groups_of({'models': [{'ood_means': {'near': {'sets': ['B']}}}]})
        {'near': ['B']}
    """
    return {
        group: found['sets']
        for model in results['models']
        for group, found in (model.get('ood_means') or {}).items()
    }


def group_scores(model: dict, group: str) -> dict[str, dict]:
    """A model's mean figures over a group of sets, by score."""
    return ((model.get('ood_means') or {}).get(group) or {}).get(
        'scores'
    ) or {}


def ece_of_bins(bins: dict) -> float | None:
    """Expected calibration error of all images of some bins together.

    Args:
        bins (dict): ``reliability`` in the results.

    Returns:
        float | None: None where there is no image.
    """
    if not sum(bins['count']):
        return None
    gaps = sum(
        count * abs(right - sure)
        for count, right, sure in zip(
            bins['count'], bins['accuracy'], bins['confidence']
        )
        if count
    )
    return gaps / sum(bins['count'])


def interval_of(
    figures: dict[str, float] | None, name: str
) -> tuple[float, float] | None:
    """The ends of a figure's confidence interval, if it has one."""
    ends = tuple(figure_of(figures, name + end) for end in ('_low', '_high'))
    return None if None in ends else ends


def shown(
    figures: dict[str, float] | None,
    name: str,
    digits: int = 1,
    intervals: bool = False,
) -> str:
    """A figure as tables show it, with its interval where that is asked for.

    Example:
        >>> shown(dict(top1=88.3, top1_low=87.6, top1_high=89.0), 'top1')
        '88.3'
    """
    return with_interval(
        figure_of(figures, name),
        interval_of(figures, name) if intervals else None,
        digits,
    )


def images_in_words(results: dict, group: str = 'shifts') -> str:
    """How many images there are in each set, for captions.

    Args:
        results (dict): See ``results.json``.
        group (str): ``'shifts'``, with the clean set before them, or
            ``'ood'``. Defaults to ``'shifts'``.

    Example:
        >>> images_in_words(
        ...     {'models': [{'clean': {'name': 'D', 'num_images': 1000}}]}
        ... )
        'Images: clean 1,000.'
    """
    found: dict[str, int] = {}
    corrupted = corrupted_sets(results)
    for model in results['models']:
        if group == 'shifts':
            found.setdefault(
                'clean', (model.get('clean') or {}).get('num_images')
            )
        for name, one in (model.get(group) or {}).items():
            found.setdefault(name, (one or {}).get('num_images'))
    words = [
        f'{name} {count:,}'
        + ' of each kind and severity' * (name in corrupted)
        for name, count in found.items()
        if count is not None
    ]
    return f'Images: {"; ".join(words)}.' if words else ''
