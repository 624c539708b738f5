"""Places inside a network where features can be anchored.

A place is a module whose output ``h`` is everything that the rest of the
network gets from the image. Its features are anchored as images are,
``[h_r, h - h_r]``. Linear layers read them: the network's own layers if only
linear layers read ``h``, and otherwise a projection that is added.

Source: anchoring hidden features is from G-DUQ (arXiv 2309.10976), for
graphs; images are anchored in arXiv 2406.00529.
"""

import difflib
import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import NamedTuple

import torch
from torch import nn

from ..utils.names import ask_whether_meant
from .folding import own_forward, replaced_forward

_TOLERANCE = 1e-3  # relative; batches of other sizes round differently
_MAX_LISTED = 40  # places that an error names


class Place(NamedTuple):
    """Properties of a place.

    Attributes:
        axis (int): The channel axis of its features.
        channels (int): C of its features.
        trunk (List[str]): Modules that run before the place, and last the
            place. Replaying their outputs skips all work up to the place.
        readers (List[str]): The layers that read its features, if all readers
            are linear layers. Otherwise the list is empty.
    """

    axis: int
    channels: int
    trunk: list[str]
    readers: list[str]


def find_place(
    network: nn.Module,
    name: str,
    run: Callable,
    images: torch.Tensor,
    which: int = 0,
) -> Place:
    """Check a place with forward passes, and find what runs around it.

    Args:
        network (torch.nn.Module): The network with the place.
        name (str): Name of the module whose output is to be anchored, as in
            ``network.named_modules()``.
        run (Callable): A forward pass of the network.
        images (torch.Tensor): One image of a size that it accepts.
        which (int): Index of the output to anchor if there are several.
            Defaults to 0, the first.

    Shape:
        - images: (1, C, H, W)

    Raises:
        ValueError: There is no such module, it does not run exactly once, it
            returns no tensor, something bypasses it (a shortcut, or an
            earlier output), or later layers need as many rows as there are
            images.

    Example:
        >>> net = nn.Sequential(
        ...     nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3)
        ... )
        >>> place = find_place(net, '1', net, torch.zeros(1, 3, 9, 9))
        >>> place.trunk, place.readers
        (['0', '1'], ['2'])
    """
    modules = dict(network.named_modules())
    if not name or name not in modules:
        raise ValueError(f'it has no module {name!r}')
    with _in_evaluation(network):
        record = _Record(network, name, which)
        expected = record.watch(run, images)
        _check_cut(record, run, images, expected)
        readers = _readers(record, run, images, expected)
    features = record.features
    if readers:
        axis = 1 if isinstance(modules[readers[0]], nn.Conv2d) else -1
    else:
        axis = _channel_axis(features, images)
    return Place(axis, features.size(axis), record.trunk, readers)


def places_of(
    network: nn.Module, run: Callable, images: torch.Tensor
) -> list[str]:
    """List the names of all places that :func:`find_place` accepts.

    These are the stages and blocks of a network: modules with a name of one
    or two parts, and those in a list or sequence of modules at any depth.
    Other modules inside of blocks are omitted.

    Example:
        >>> net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU())
        >>> places_of(net, net, torch.zeros(1, 3, 9, 9))
        ['0', '1']
    """
    found, bypassed = [], ()
    modules = dict(network.named_modules())
    for name, module in modules.items():
        above = name.rpartition('.')[0]
        if (
            not name
            or name.startswith(bypassed)
            or not _has_forward(module)
            or name.count('.') > 1
            and not isinstance(modules[above], (nn.ModuleList, nn.Sequential))
        ):
            continue
        try:
            find_place(network, name, run, images)
        except _Bypassed:  # so is all that is inside
            bypassed += (f'{name}.',)
        except ValueError:
            pass
        else:
            found.append(name)
    return found


def near_names(name: str, names: list[str]) -> str:
    """Ask whether the most similar names were meant, or return ''.

    The first parts of a name may be missing, or be others.

    Example:
        >>> near_names('layer33', ['layer3', 'layers'])
        " Did you mean 'layer3' or 'layers'?"
        >>> near_names('layer3', ['image', 'timm_model.layer3'])
        " Did you mean 'timm_model.layer3'?"
    """

    def likeness(other: str) -> float:
        return max(
            difflib.SequenceMatcher(None, one, two).ratio()
            for one in _ends(name)
            for two in _ends(other)
        )

    ranked = sorted(names, key=likeness, reverse=True)
    near = [one for one in ranked[:2] if likeness(one) > 0.6]
    # a name that differs by its first parts alone needs no second guess
    near = near[: 1 if near and likeness(near[0]) == 1 else 2]
    return f' {ask_whether_meant(near)}' if near else ''


def _ends(name: str) -> list[str]:
    """A name without its first parts, unless only numbers are left."""
    parts = name.split('.')
    ends = ['.'.join(parts[start:]) for start in range(len(parts))]
    return [name, *(end for end in ends[1:] if not end[0].isdigit())]


def list_names(names: Sequence[str]) -> str:
    """List names of modules for an error, with ranges of numbered ones.

    Example:
        >>> list_names(['conv1', 'layers.0', 'layers.1', 'layers.2'])
        'conv1, layers.0 to layers.2'
    """
    runs: list[list[str]] = []
    for name in names:
        start, number = _numbered(name)
        last, before = _numbered(runs[-1][-1]) if runs else ('', None)
        if (
            number is not None
            and before is not None
            and (start, number) == (last, before + 1)
        ):
            runs[-1].append(name)
        else:
            runs.append([name])
    while len(runs) > _MAX_LISTED:  # the deepest are left out first
        depths = [run[0].count('.') for run in runs]
        if min(depths) == max(depths):
            runs = runs[:_MAX_LISTED]
        else:
            runs = [r for r, depth in zip(runs, depths) if depth < max(depths)]
    listed = [
        f'{run[0]} to {run[-1]}' if len(run) > 2 else ', '.join(run)
        for run in runs
    ]
    left_out = len(names) - sum(map(len, runs))
    if left_out:
        listed.append(f'and {left_out} more')
    return ', '.join(listed)


def _numbered(name: str) -> tuple[str, int | None]:
    """Split a name such as ``layers.3`` or ``layer3`` before its number."""
    match = re.fullmatch(r'(.*?)(\d+)', name)
    return (match[1], int(match[2])) if match else (name, None)


def _has_forward(module: nn.Module) -> bool:
    """Whether a module can run; lists and dicts of modules can not.

    timm's feature extractors are dicts of modules that can.
    """
    return type(module).forward is not nn.Module.forward


class _Bypassed(ValueError):
    """Features also take another way than through a module."""


class _Record:
    """Records the modules before a place, and the place's output."""

    def __init__(self, network, name, which):
        self.network, self.name, self.which = network, name, which
        self.module = network.get_submodule(name)
        self.trunk: list[str] = []

    def watch(self, run, images) -> list[torch.Tensor]:
        outputs = []
        with ExitStack() as stack:
            for name, module in beside(self.network, self.name):
                hook = self._note(name, outputs)
                stack.callback(module.register_forward_hook(hook).remove)
            hook = self._end(outputs)
            stack.callback(self.module.register_forward_hook(hook).remove)
            given = list(tensors_of(run(images)))
        if len(outputs) != 1:
            raise ValueError(f'it runs {len(outputs)} times in a forward pass')
        self.output = outputs[0]
        features = tensor_at(self.output, self.which)
        if features is None or features.dim() < 2:
            raise ValueError('it gives no features as a tensor')
        self.features = features
        # copied, since layers may change it in place
        self.kept = self.features.clone()
        return given

    def _note(self, name, outputs):
        def note(*_):
            if not outputs and name not in self.trunk:
                self.trunk.append(name)

        return note

    def _end(self, outputs):
        def end(_, __, output):
            self.trunk.append(self.name)
            features = tensor_at(output, self.which)
            if features is not None:
                output = with_tensor_at(output, self.which, features.clone())
            outputs.append(output)

        return end

    def giving(self, features) -> dict:
        """Forwards with which the place returns other features."""
        output = with_tensor_at(self.output, self.which, features)
        return {self.module: lambda *_, **__: output}


def _check_cut(record, run, images, expected) -> None:
    """Check that the output depends on the place's features alone."""
    nothing = torch.full_like(images, torch.nan)
    with replaced_forward(record.giving(record.kept.clone())):
        given = list(tensors_of(run(nothing)))
    if not _same(given, expected):
        raise _Bypassed(
            'something bypasses it: it is inside a residual branch, or the '
            'backbone also returns earlier features (`out_indices`)'
        )
    two = torch.cat([record.kept, record.kept])
    try:
        with replaced_forward(record.giving(two)):
            given = list(tensors_of(run(nothing)))
    except Exception as error:
        raise ValueError(
            'later layers fail if features have another number of rows than '
            f'images ({error})'
        ) from error
    if not _same(given, [torch.cat([one, one]) for one in expected]):
        raise ValueError(
            'later layers return something else if features have another '
            'number of rows than images'
        )


def _readers(record, run, images, expected) -> list[str]:
    """Names of the layers that read the features, if all are linear."""
    reading: Counter = Counter()
    names = {
        module: name
        for name, module in record.network.named_modules()
        if (isinstance(module, nn.Conv2d) and module.groups == 1)
        or type(module) is nn.Linear
    }
    calls: Counter = Counter()
    features = record.kept.clone()

    def look(layer, args):
        calls[layer] += 1
        if args and args[0] is features:
            reading[layer] += 1

    with ExitStack() as stack:
        for layer in names:
            stack.callback(layer.register_forward_pre_hook(look).remove)
        with replaced_forward(record.giving(features)):
            run(images)
    layers = list(reading)
    if (
        not layers
        or any(calls[layer] > 1 for layer in layers)
        or len({isinstance(layer, nn.Conv2d) for layer in layers}) > 1
    ):
        return []
    # only these layers get the features, and others get NaN
    given = {layer: own_forward(layer)(record.kept) for layer in layers}
    replaced = record.giving(torch.full_like(record.kept, torch.nan))
    for layer in layers:
        replaced[layer] = lambda _, output=given[layer]: output.clone()
    with replaced_forward(replaced):
        found = list(tensors_of(run(images)))
    return [names[layer] for layer in layers] if _same(found, expected) else []


def beside(network: nn.Module, name: str) -> Iterator[tuple[str, nn.Module]]:
    """List the largest modules with a forward that don't contain a module.

    Example:
        >>> net = nn.Sequential(nn.ReLU(), nn.Sequential(nn.ReLU()))
        >>> [name for name, _ in beside(net, '1.0')]
        ['0']
    """
    parts = name.split('.')
    around = {'.'.join(parts[:end]) for end in range(1, len(parts) + 1)}

    def walk(module, prefix):
        for child_name, child in module.named_children():
            full = prefix + child_name
            if full == name:
                continue
            if full in around or not _has_forward(child):
                yield from walk(child, f'{full}.')
            else:
                yield full, child

    return walk(network, '')


def tensor_at(output, which: int) -> torch.Tensor | None:
    """Return the tensor itself, or the one at an index of a tuple or list."""
    if isinstance(output, (tuple, list)) and output:
        output = output[which]
    return output if isinstance(output, torch.Tensor) else None


def with_tensor_at(output, which: int, tensor: torch.Tensor):
    """Replace the tensor that :func:`tensor_at` returns."""
    if isinstance(output, torch.Tensor):
        return tensor
    changed = list(output)
    changed[which] = tensor
    return type(output)(changed)


def tensors_of(tree) -> Iterator[torch.Tensor]:
    """Iterate over all tensors of nested tuples and lists."""
    if isinstance(tree, torch.Tensor):
        yield tree
    elif isinstance(tree, (tuple, list)):
        for branch in tree:
            yield from tensors_of(branch)


def map_tensors(function, *trees):
    """Apply a function to the tensors of nested tuples and lists.

    Example:
        >>> map_tensors(torch.add, (1, torch.ones(1)), (2, torch.ones(1)))
        (1, tensor([2.]))
    """
    first = trees[0]
    if isinstance(first, (tuple, list)):
        return type(first)(
            map_tensors(function, *branches) for branches in zip(*trees)
        )
    return function(*trees) if isinstance(first, torch.Tensor) else first


def _channel_axis(features: torch.Tensor, images: torch.Tensor) -> int:
    """Guess the axis: 1 of (B, C, H, W), -1 of (B, H, W, C) and others.

    Height and width of a map have about the ratio of those of the image.
    """
    if features.dim() != 4:
        return -1
    first, second, third = features.shape[1:]
    expected = math.log(images.size(2) / images.size(3))
    if_last = abs(math.log(first / second) - expected)
    if_first = abs(math.log(second / third) - expected)
    return -1 if if_last < if_first else 1


def _same(found, expected) -> bool:
    return len(found) == len(expected) and all(
        a.shape == b.shape and bool((a - b).norm() <= _TOLERANCE * b.norm())
        for a, b in zip(found, expected)
    )


@contextmanager
def _in_evaluation(network: nn.Module):
    modes = {module: module.training for module in network.modules()}
    network.eval()
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            yield
    finally:
        for module, mode in modes.items():
            module.training = mode
