"""Caches one value computed from tensors; recomputes it when one changes."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch


class TensorCache:
    """One such value.

    Tensors of which it is known who writes to them are recognised by address
    and version, which costs nothing. All others are compared by value at each
    use, in one answer of the device: hooks that swap weights by
    ``parameter.data`` leave no other trace. Copies and pickles of a model are
    free of it.

    Example:
        >>> kept, x = TensorCache(), torch.ones(2)
        >>> kept.get([x], lambda: x.sum().item())
        2.0
        >>> x.data.add_(1)
        tensor([2., 2.])
        >>> kept.get([x], lambda: x.sum().item())
        4.0
    """

    def __init__(self):
        # one attribute for all: threads must not see one without the other
        self._entry: tuple[list[_Seen], Any] | None = None
        self._thread = threading.local()

    def get(
        self,
        made_from: Sequence[torch.Tensor],
        make: Callable[[], Any],
        versioned: Sequence[torch.Tensor] = (),
    ) -> Any:
        """The value, computed anew where a tensor is another.

        Args:
            made_from (Sequence[torch.Tensor]): What it depends on, compared
                by value.
            make (Callable): Computes it.
            versioned (Sequence[torch.Tensor]): What it depends on, too, and
                nobody writes to behind the back of autograd's versions.
                Compared by value only where address or version differ.
        """
        entry = self._entry
        if entry is not None and entry is getattr(
            self._thread, 'compared', None
        ):
            return entry[1]
        count = len(versioned)
        tensors = [*versioned, *made_from]
        if entry is None or not _unchanged(entry[0], tensors, count):
            # copied first: what changes meanwhile must not look up to date
            seen = [_Seen(tensor) for tensor in tensors]
            entry = self._entry = (seen, make())
        if getattr(self._thread, 'compares_once', False):
            self._thread.compared = entry
        return entry[1]

    @contextmanager
    def comparing_once(self) -> Iterator[None]:
        """Let only the first use by this thread compare, for a while.

        For uses between which nobody changes a tensor, such as the rounds of
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
    """A tensor as it was: its values, and where and in which version."""

    def __init__(self, tensor: torch.Tensor):
        self.values = tensor.detach().clone()
        # shares memory, which can not become another tensor's meanwhile
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
