"""Where checkpoints of other programs have their weights."""

from collections.abc import Iterable

import torch

Weights = dict[str, torch.Tensor]

# averaged weights are what the paper's authors evaluate: they come first
PLACES = ('model_ema', 'model', 'net', 'state_dict')
_WRAPPERS = ('module.', 'net.')


def find_weights(
    checkpoint: dict, place: str | None = None, path: str = 'the checkpoint'
) -> tuple[Weights, str | None]:
    """Find a model's weights in a checkpoint, by the names it gave them.

    Args:
        checkpoint (dict): Weights, or a dict that has them under one of
            ``PLACES``. What DataParallel, averaging and anchoring put before
            their names is taken off.
        place (str, optional): Which of ``PLACES``. Defaults to None: the
            first that is there.
        path (str): What to call the checkpoint.

    Returns:
        Tuple[Dict[str, torch.Tensor], Optional[str]]: The weights, and which
        place they were in; None: the checkpoint is the weights.

    Raises:
        ValueError: There are none, or none in that place.

    Example:
        >>> find_weights({'net': {'module.net.w': torch.ones(1)}, 'acc': 95})
        ({'w': tensor([1.])}, 'net')
    """
    if not isinstance(checkpoint, dict):
        raise ValueError(
            f'Expected a dict of weights in {path}, but got a '
            f'{type(checkpoint).__name__}. Save '
            '`model.state_dict()` and convert that.'
        )
    there = [name for name in PLACES if isinstance(checkpoint.get(name), dict)]
    if place is not None and place not in there:
        raise ValueError(
            f'Expected weights under {place!r} in {path}, but '
            f'there are those of: {some_of(there) or "none"}.'
        )
    if place is None and there:
        place = there[0]
    found = checkpoint if place is None else checkpoint[place]
    weights = {
        name: weight
        for name, weight in found.items()
        if isinstance(name, str)
        and isinstance(weight, torch.Tensor)
        and name != 'n_averaged'
    }
    if not weights:
        raise ValueError(
            f'Expected weights in {path}, or under one of {", ".join(PLACES)}'
            f' in it, but {"it" if place is None else repr(place)} has no '
            f'tensors by name; it has: {some_of(found) or "nothing"}. Name a '
            'checkpoint that was saved with its weights.'
        )
    return _without_wrappers(weights), place


def _without_wrappers(weights: Weights) -> Weights:
    while True:
        for wrapper in _WRAPPERS:
            if all(name.startswith(wrapper) for name in weights):
                weights = {n[len(wrapper) :]: w for n, w in weights.items()}
                break
        else:
            return weights


def some_of(things: Iterable, most: int = 3) -> str:
    """A list in words that does not get long.

    Example:
        >>> some_of('abcde')
        'a, b, c and 2 more'
    """
    names = [str(thing) for thing in things]
    more = len(names) - most
    return ', '.join(names[:most]) + (f' and {more} more' if more > 0 else '')
