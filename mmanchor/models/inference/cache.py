"""Caches a value computed from tensors, until one of them changes."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch


class TensorCache:
    """Caches one value computed from tensors.

    Tensors that are only changed in ways that autograd counts are compared by
    address and version, which costs nothing. All others are compared by value
    at each use, since hooks that swap weights through ``parameter.data``
    leave no other trace. That comparison makes the host wait for the device
    once. Copies and pickles of a model have an empty cache.

    Example:
        >>> cache, x = TensorCache(), torch.ones(2)
        >>> cache.get([x], lambda: x.sum().item())
        2.0
        >>> x.data.add_(1)
        tensor([2., 2.])
        >>> cache.get([x], lambda: x.sum().item())
        4.0
    """

    def __init__(self):
        # a single attribute, so that threads never see half of an update
        self._entry: tuple[list[_Seen], Any] | None = None
        self._thread = threading.local()

    def get(
        self,
        made_from: Sequence[torch.Tensor],
        make: Callable[[], Any],
        versioned: Sequence[torch.Tensor] = (),
    ) -> Any:
        """Return the value, computed again if a tensor has changed.

        Args:
            made_from (Sequence[torch.Tensor]): The tensors that the value
                depends on and that are compared by value.
            versioned (Sequence[torch.Tensor]): Further tensors that the
                value depends on, whose every change autograd counts. They are
                compared by value only if address or version differ.
        """
        entry = self._entry
        if entry is not None and entry is getattr(
            self._thread, 'compared', None
        ):
            return entry[1]
        count = len(versioned)
        tensors = [*versioned, *made_from]
        if entry is None or not _unchanged(entry[0], tensors, count):
            # copied before computing, in case a tensor changes meanwhile
            seen = [_Seen(tensor) for tensor in tensors]
            entry = self._entry = (seen, make())
        if getattr(self._thread, 'compares_once', False):
            self._thread.compared = entry
        return entry[1]

    @contextmanager
    def comparing_once(self) -> Iterator[None]:
        """Create a context in which only this thread's first use compares.

        It is for uses between which no tensor changes, such as the rounds of
        one batch.
        """
        self._thread.compares_once = True
        try:
            yield
        finally:
            self._thread.compares_once, self._thread.compared = False, None

    def __deepcopy__(self, memo):
        return TensorCache()

    def __reduce__(self):
        return TensorCache, ()


class _Seen:
    """A tensor's values, address and version at an earlier time."""

    def __init__(self, tensor: torch.Tensor):
        self.values = tensor.detach().clone()
        # holds the memory, so that no other tensor gets the same address
        self.alias = tensor.detach()
        self.version = _version(tensor)

    def may_be(self, tensor: torch.Tensor) -> bool:
        return (
            self.values.shape == tensor.shape
            and self.values.dtype == tensor.dtype
            and self.values.device == tensor.device
        )

    def surely_is(self, tensor: torch.Tensor) -> bool:
        return (
            self.version is not None
            and self.version == _version(tensor)
            and self.alias.data_ptr() == tensor.data_ptr()
            and self.alias.stride() == tensor.stride()
        )


def _unchanged(
    seen: Sequence[_Seen], tensors: Sequence[torch.Tensor], versioned: int
) -> bool:
    if len(seen) != len(tensors) or not all(
        was.may_be(tensor) for was, tensor in zip(seen, tensors)
    ):
        return False
    differ = [
        (was.values != tensor).any()
        for index, (was, tensor) in enumerate(zip(seen, tensors))
        if index >= versioned or not was.surely_is(tensor)
    ]
    return not differ or not bool(torch.stack(differ).any())


def _version(tensor: torch.Tensor) -> int | None:
    return None if tensor.is_inference() else tensor._version
