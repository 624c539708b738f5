"""A device without a device: CPU tensors that say they are on a GPU.

Tensors keep their values, so that whole training steps and protocols run, and
every operation is seen on its way: tensors of two devices that meet are an
error, and copies and waits are written down with their place.
"""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

aten = torch.ops.aten
CUDA = torch.device('cuda', 0)
# what needs to know a value, or how many there are, before the host goes on
ANSWERS = {
    aten._local_scalar_dense.default,
    aten.equal.default,
    aten.is_nonzero.default,
    aten.masked_select.default,
    aten.nonzero.default,
    aten.repeat_interleave.Tensor,
    aten.bincount.default,
    aten._unique.default,
    aten._unique2.default,
    aten.unique_consecutive.default,
    aten.unique_dim.default,
    aten.unique_dim_consecutive.default,
    aten._linalg_check_errors.default,
}
INDEXED = {
    aten.index.Tensor,
    aten.index_put.default,
    aten.index_put_.default,
    aten._index_put_impl_.default,
    aten._unsafe_index.Tensor,
}
PACKAGES = Path(torch.__file__).parents[1], Path(__file__).parents[2]


class Event(NamedTuple):
    """One copy between host and device, or one wait of the host.

    Attributes:
        kind (str): ``'copy'``: from pinned memory, and the host goes on;
            ``'waiting copy'``: from pageable memory, or not asynchronous;
            ``'wait'``: the host needs an answer of the device.
        operation (str): As ATen calls it.
        place (str): File and function within mmanchor that caused it, or
            else within the host.
        line (int): Of that file.
    """

    kind: str
    operation: str
    place: str
    line: int


class OnDevice(torch.Tensor):
    """A tensor with values on the CPU that says it is on a GPU.

    PyTorch's own code is shown a tensor without values (``'meta'``), since it
    would talk to a driver otherwise; Python, autocast and the choice of
    kernels see a GPU.
    """

    @staticmethod
    def __new__(cls, values: torch.Tensor):
        shape = torch.empty_strided(
            values.size(), values.stride(), dtype=values.dtype, device='meta'
        )
        return torch.Tensor._make_subclass(
            cls, shape, False, device_for_backend_keys=CUDA
        )

    def __init__(self, values: torch.Tensor):
        self.values_on_cpu = values

    device = property(lambda self: CUDA)
    is_cuda = property(lambda self: True)
    is_meta = property(lambda self: False)

    def __repr__(self):
        return f'OnDevice({self.values_on_cpu!r})'

    def data_ptr(self):
        """The address of the values."""
        return self.values_on_cpu.data_ptr()

    def new_tensor(self, data, *, dtype=None, device=None, **kwargs):
        """PyTorch's own talks to a driver."""
        return torch.tensor(
            data, dtype=dtype or self.dtype, device=device or CUDA, **kwargs
        )

    def __deepcopy__(self, memo):
        copied = OnDevice(self.values_on_cpu.clone())
        if isinstance(self, torch.nn.Parameter):
            copied._is_param = True
        return copied.requires_grad_(self.requires_grad)

    __torch_function__ = torch._C._disabled_torch_function_impl


class _Watch(TorchDispatchMode):
    """Runs operations on the values, and writes down what the host pays."""

    def __init__(self):
        super().__init__()
        self.events: list[Event] = []
        self.pinned: dict[int, torch.Tensor] = {}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        leaves = [
            leaf
            for leaf in tree_leaves((args, kwargs))
            if isinstance(leaf, torch.Tensor)
        ]
        on_device = [leaf for leaf in leaves if isinstance(leaf, OnDevice)]
        on_host = [leaf for leaf in leaves if not isinstance(leaf, OnDevice)]
        if func is aten.is_pinned.default:
            return not on_device and _address(leaves[0]) in self.pinned
        if func is aten._pin_memory.default:
            copy = leaves[0].clone()
            self.pinned[_address(copy)] = copy
            return copy
        device = kwargs.get('device')
        to = None if device is None else torch.device(device).type
        if device is not None:
            kwargs['device'] = torch.device('cpu')
        wraps = bool(on_device) if to is None else to in ('cuda', 'meta')
        self._watch(func, args, kwargs, on_device, on_host, wraps)
        kwargs.pop('pin_memory', None)
        values = tree_map_only(
            OnDevice, lambda one: one.values_on_cpu, (args, kwargs)
        )
        out = func(*values[0], **values[1])
        if not wraps or func is aten._local_scalar_dense.default:
            return out
        return _wrap(func, args, kwargs, out)

    def _watch(self, func, args, kwargs, on_device, on_host, wraps) -> None:
        if func in (aten._to_copy.default, aten.copy_.default):
            self._watch_copy(func, args, kwargs, on_device, on_host, wraps)
            return
        if not on_device:
            return
        if func in ANSWERS:
            self._note('wait', func)
        indices = args[1] if func in INDEXED else ()
        for index in indices:
            if index is None:
                continue
            if index.dtype in (torch.bool, torch.uint8):
                self._note('wait', func)
            if not isinstance(index, OnDevice):
                self._note('waiting copy', func)
        strangers = [
            one
            for one in on_host
            if one.dim() and not any(one is index for index in indices)
        ]
        if strangers:
            raise AssertionError(
                f'{func} got tensors of two devices: '
                f'{[tuple(one.shape) for one in strangers]} of the host.'
            )

    def _watch_copy(self, func, args, kwargs, on_device, on_host, wraps):
        if func is aten.copy_.default:
            target, source = args[:2]
            asynchronous = args[2] if len(args) > 2 else False
            crosses = isinstance(target, OnDevice) != isinstance(
                source, OnDevice
            )
        else:
            source = args[0]
            asynchronous = kwargs.pop('non_blocking', False)
            crosses = isinstance(source, OnDevice) != wraps
        if not crosses:
            return
        if isinstance(source, OnDevice):
            self._note('wait', func)
        elif asynchronous and _address(source) in self.pinned:
            self._note('copy', func)
        else:
            self._note('waiting copy', func)

    def _note(self, kind, func) -> None:
        frames = [
            frame
            for frame in traceback.extract_stack()
            if not frame.filename.endswith(
                ('helpers/pretend_device.py', 'utils/pytorch.py')
            )
        ]
        ours = [
            f
            for f in frames
            if '/mmanchor/' in f.filename and '/tests/' not in f.filename
        ]
        others = [
            f
            for f in frames
            if '/torch/' not in f.filename and '<' not in f.filename
        ]
        frame = (ours or others)[-1]
        # what the host does within a call of ours is the host's
        inner = others[-1]
        if '/mmpretrain/' in inner.filename or '/mmengine/' in inner.filename:
            frame = inner
        path = Path(frame.filename)
        for root in PACKAGES:
            if path.is_relative_to(root):
                path = path.relative_to(root)
                break
        self.events.append(
            Event(
                kind,
                func._schema.name.partition('::')[2],
                f'{path.as_posix()}:{frame.name}',
                frame.lineno or 0,
            )
        )


def _wrap(func, args, kwargs, out):
    """Results as tensors of the device; what is written to stays itself."""
    written = [
        kwargs.get(argument.name, args[index] if index < len(args) else None)
        for index, argument in enumerate(func._schema.arguments)
        if argument.alias_info is not None and argument.alias_info.is_write
    ]
    results = func._schema.returns
    if written and any(
        one.alias_info is not None and one.alias_info.is_write
        for one in results
    ):
        return written[0] if len(results) == 1 else tuple(written)
    return tree_map_only(torch.Tensor, OnDevice, out)


def _made_on_the_host(make):
    """Values of Python lists are copied to a device, as PyTorch does it."""

    def made(data, *args, device=None, **kwargs):
        tensor = make(data, *args, **kwargs)
        return tensor if device is None else tensor.to(device)

    return made


def _address(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


@contextmanager
def pretend_device() -> Iterator[list[Event]]:
    """Let ``'cuda'`` name a device that there is not.

    Yields:
        List[Event]: What the host copies and waits for, as it comes.
    """
    watch = _Watch()
    common = torch.cuda.amp.common
    with (
        mock.patch.object(torch.cuda, '_lazy_init', lambda: None),
        mock.patch.object(torch.cuda, 'is_bf16_supported', lambda *_: True),
        mock.patch.object(torch, 'tensor', _made_on_the_host(torch.tensor)),
        mock.patch.object(
            torch, 'as_tensor', _made_on_the_host(torch.as_tensor)
        ),
        mock.patch.object(
            common, 'amp_definitely_not_available', lambda: False
        ),
        # `module.to` has to put other tensors in, not other memory
        mock.patch.object(
            torch.__future__,
            'get_overwrite_module_params_on_conversion',
            lambda: True,
        ),
        watch,
    ):
        yield watch.events
