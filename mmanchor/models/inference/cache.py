"""What was made from tensors, kept as long as they have the same values."""

from collections.abc import Callable, Sequence
from typing import Any

import torch


class Kept:
    """One such thing.

    Values are compared, at each use: hooks that swap weights leave no other
    trace. Copies and pickles of a model are free of it.

    Example:
        >>> kept, x = Kept(), torch.ones(2)
        >>> kept.get([x], lambda: x.sum().item())
        2.0
        >>> kept.get([x.add_(1)], lambda: x.sum().item())
        4.0
    """

    def __init__(self):
        # one attribute for both: threads must not see one without the other
        self._entry: tuple[list[torch.Tensor], Any] | None = None

    def get(
        self, made_from: Sequence[torch.Tensor], make: Callable[[], Any]
    ) -> Any:
        """The thing, made anew where a tensor is another.

        Args:
            made_from (Sequence[torch.Tensor]): All that it depends on.
            make (Callable): Makes it.
        """
        entry = self._entry
        if entry is None or not (
            len(entry[0]) == len(made_from)
            and all(map(_same, entry[0], made_from))
        ):
            # copied first: what changes meanwhile must not look up to date
            copies = [tensor.detach().clone() for tensor in made_from]
            entry = self._entry = (copies, make())
        return entry[1]

    def __deepcopy__(self, memo):
        return Kept()

    def __reduce__(self):
        return Kept, ()


def _same(a: torch.Tensor, b: torch.Tensor) -> bool:
    return (
        a.shape == b.shape
        and a.dtype == b.dtype
        and a.device == b.device
        and torch.equal(a, b)
    )
