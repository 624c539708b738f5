"""What the models of a suite's results have, whichever of them has it."""
from typing import Dict, List, Optional


def names_of(results: dict, group: str) -> List[str]:
    """The sets that any model was measured on, in order.

    Args:
        results (dict): See ``results.json``.
        group (str): ``'shifts'`` or ``'ood'``.

    Example:
        >>> names_of({'models': [{'ood': {}}, {'ood': {'NINCO': {}}}]}, 'ood')
        ['NINCO']
    """
    return list(
        dict.fromkeys(name for model in results['models']
                      for name in model.get(group) or ()))


def shift(model: dict, name: str) -> dict:
    """A model's figures on a shifted set, empty if it has none."""
    return (model.get('shifts') or {}).get(name) or {}


def clean(model: dict) -> dict:
    """A model's figures on clean images, empty if it has none."""
    return (model.get('clean') or {}).get('figures') or {}


def kinds_of(results: dict, name: str) -> List[str]:
    """Kinds of a corrupted set that any model has, in order."""
    return list(
        dict.fromkeys(kind for model in results['models']
                      for part in ('by_kind', 'cells')
                      for kind in shift(model, name).get(part) or ()))


def severities_of(results: dict, name: str) -> List[str]:
    """Severities of a corrupted set that any model has, from low to high."""
    found = {
        severity
        for model in results['models']
        for severity in shift(model, name).get('by_severity') or ()
    }
    return sorted(found, key=float)


def corrupted_sets(results: dict) -> List[str]:
    """Those of the shifted sets that have severities."""
    return [
        name for name in names_of(results, 'shifts')
        if severities_of(results, name)
    ]


def figure_of(figures: Optional[Dict[str, float]],
              name: str) -> Optional[float]:
    """A figure that may not be there."""
    return (figures or {}).get(name)


def default_score(model: dict, name: str) -> Optional[str]:
    """The first of a model's anomaly scores on a set."""
    return next(iter(scores(model, name)), None)


def scores(model: dict, name: str) -> Dict[str, dict]:
    """A model's figures on a set out of distribution, by score."""
    return ((model.get('ood') or {}).get(name) or {}).get('scores') or {}
