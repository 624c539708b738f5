"""Converts checkpoints of torchvision's models to MMPretrain's.

The paper's authors released such checkpoints.
"""

import argparse
import os
from pathlib import Path
from typing import NamedTuple

import torch
from mmpretrain.datasets.categories import (
    CIFAR10_CATEGORIES,
    CIFAR100_CATEGORIES,
    IMAGENET_CATEGORIES,
)

from ..utils.files import file_sha256, whole_files
from ..utils.names import shorten_list
from ..version import __version__
from .safe_loading import load_local
from .torchvision_weights import (
    ARCHITECTURES,
    Weights,
    find_architecture,
    find_mismatches,
    to_current_names,
    to_mmpretrain_names,
)
from .verification import check_checkpoint, is_remote

# The dict keys under which other programs save weights. Averaged weights come
# first because the paper's authors evaluate those.
WEIGHT_KEYS = ('model_ema', 'model', 'net', 'state_dict')
# Prefixes that DataParallel, weight averaging and anchoring put before names.
_WRAPPERS = ('module.', 'net.')


def find_weights(
    checkpoint: dict, place: str | None = None, path: str = 'the checkpoint'
) -> tuple[Weights, str | None]:
    """Find the weights of a model in the checkpoint of another program.

    Args:
        checkpoint (dict): The weights, or a dict that holds them under one
            of ``WEIGHT_KEYS``. Prefixes that DataParallel, weight averaging
            and anchoring add to all names are removed.
        place (str, optional): The one of ``WEIGHT_KEYS`` to read. Defaults
            to None: the first that the checkpoint has.

    Returns:
        Tuple[Dict[str, torch.Tensor], Optional[str]]: The weights, and the
        key they were under. The key is None if the checkpoint itself is the
        dict of weights.

    Raises:
        ValueError: The checkpoint has no weights, or none under ``place``.

    Example:
        >>> find_weights({'net': {'module.net.w': torch.ones(1)}, 'acc': 95})
        ({'w': tensor([1.])}, 'net')
    """
    if not isinstance(checkpoint, dict):
        raise ValueError(
            f'Expected {path} to hold a dict of weights, but got a '
            f'{type(checkpoint).__name__}. Save `model.state_dict()` and '
            'convert that.'
        )
    present = [
        name for name in WEIGHT_KEYS if isinstance(checkpoint.get(name), dict)
    ]
    if place is not None and place not in present:
        raise ValueError(
            f'Expected weights under {place!r} in {path}, but it has weights '
            f'under: {shorten_list(present) or "none"}. Change `--weights`.'
        )
    if place is None and present:
        place = present[0]
    candidates = checkpoint if place is None else checkpoint[place]
    weights = {
        name: weight
        for name, weight in candidates.items()
        if isinstance(name, str)
        and isinstance(weight, torch.Tensor)
        and name != 'n_averaged'
    }
    if not weights:
        raise ValueError(
            f'Expected {path} to hold weights, by itself or under one of '
            f'{", ".join(WEIGHT_KEYS)}, but '
            f'{"it" if place is None else repr(place)} has no named tensors, '
            f'only: {shorten_list(candidates) or "nothing"}. Name a '
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


_DATA = {
    ('resnet18_cifar', 10): ('cifar10', CIFAR10_CATEGORIES),
    ('resnet18_cifar', 100): ('cifar100', CIFAR100_CATEGORIES),
    **{
        (arch, 1000): ('in1k', IMAGENET_CATEGORIES)
        for arch in ARCHITECTURES
        if arch != 'resnet18_cifar'
    },
}


class ConvertedCheckpoint(NamedTuple):
    """The result of :func:`convert`.

    Attributes:
        place (str, optional): The key under which the source had the weights.
            None if the source was nothing but weights.
        channels (int): Input channels: 3 for a plain model, 6 for an anchored
            one.
        num_classes (int): Number of classes.
        data (str, optional): The data set of the model, concluded from the
            number of classes: ``'cifar10'``, ``'cifar100'`` or ``'in1k'``.
        config (str, optional): The config to evaluate the model with.
        weights (Dict[str, torch.Tensor]): The weights under MMPretrain's
            names.
    """

    place: str | None
    channels: int
    num_classes: int
    data: str | None
    config: str | None
    weights: Weights


def convert(
    checkpoint: dict,
    arch: str,
    place: str | None = None,
    path: str = 'the checkpoint',
) -> ConvertedCheckpoint:
    """Convert a checkpoint with torchvision's names to MMPretrain's weights.

    Raises:
        ValueError: ``arch`` is unknown; or the checkpoint has no weights, is
            of another architecture, or reads images of other than 3 channels.

    Example:
        >>> from torchvision.models import vit_b_16
        >>> with torch.device('meta'):
        ...     saved = {'model': vit_b_16().state_dict()}
        >>> convert(saved, 'vit_b_16').config
        'configs/converted/vit-b16_in1k.py'
    """
    if arch not in ARCHITECTURES:
        raise ValueError(
            f'Expected `arch` to be one of '
            f'{", ".join(ARCHITECTURES)}, but got {arch!r}. Change `--arch`.'
        )
    weights, place = find_weights(checkpoint, place, path)
    weights = to_current_names(weights)
    _check_architecture(weights, arch, path)
    architecture = ARCHITECTURES[arch]
    channels = weights[architecture.stem].size(1)
    if channels not in (3, 6):
        raise ValueError(
            f'Expected {architecture.stem} of {path} to read 3 channels (a '
            f'plain model) or 6 (an anchored model), but it reads {channels}. '
            'Convert a model for images of 3 channels.'
        )
    num_classes = len(weights[f'{architecture.head}.bias'])
    data, _ = _DATA.get((arch, num_classes), (None, None))
    config = data and (
        f'configs/converted/{architecture.config}'
        f'{"_anchored" if channels == 6 else ""}_{data}.py'
    )
    return ConvertedCheckpoint(
        place,
        channels,
        num_classes,
        data,
        config,
        to_mmpretrain_names(weights, arch),
    )


def convert_checkpoint(
    source: str,
    target: str,
    arch: str,
    place: str | None = None,
    force: bool = False,
    allow_code: bool = False,
) -> ConvertedCheckpoint:
    """Write the MMPretrain form of a checkpoint with torchvision's names.

    The new file holds weights only. Its ``meta`` records their origin.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The source is damaged or contains code; :func:`convert`
            refuses it; or the target exists already.
    """
    if is_remote(source):
        raise ValueError(
            f'Expected a file, but got {source}. Download it first.'
        )
    check_checkpoint(source)
    if os.path.realpath(source) == os.path.realpath(target):
        raise ValueError(
            f'Expected a target that is another file than {source}, but got '
            'the same. Name another.'
        )
    if os.path.lexists(target) and not force:
        raise ValueError(
            f'Expected a target that does not exist yet, but {target} does. '
            'Name another, or add `--force`.'
        )
    # torchvision's reference training saves its command line as a Namespace,
    # which is safe to load: it is nothing but names and values.
    checkpoint = load_local(source, 'cpu', allow_code, [argparse.Namespace])
    converted = convert(checkpoint, arch, place, source)
    _, classes = _DATA.get((arch, converted.num_classes), (None, None))
    meta = dict(
        mmanchor_version=__version__,
        converted=dict(
            source=Path(source).name,
            sha256=file_sha256(source),
            arch=arch,
            place=converted.place,
            channels=converted.channels,
        ),
    )
    if classes is not None:
        meta['dataset_meta'] = dict(classes=tuple(classes))
    with whole_files(Path(target).parent) as partial:
        torch.save(
            dict(meta=meta, state_dict=converted.weights),
            partial / Path(target).name,
        )
    return converted


def _check_architecture(weights, arch, path) -> None:
    wrong = find_mismatches(weights, arch)
    if not wrong:
        return
    if any(name.startswith('backbone.') for name in weights):
        raise ValueError(
            f"Expected {path} to have torchvision's names, but it has those "
            'of MMPretrain. Use it without converting it.'
        )
    fitting = find_architecture(weights)
    if fitting is not None:
        advice = f'They fit {fitting}: use `--arch {fitting}`.'
    else:
        advice = (
            'They fit no architecture that can be converted '
            f'({", ".join(ARCHITECTURES)}). Use a checkpoint of one of these.'
        )
    raise ValueError(
        f'Expected the weights of {arch}, but the weights of {path} differ in '
        f'{len(wrong)}: {shorten_list(wrong)}. {advice}'
    )


def describe_conventions(
    arch: str, converted: ConvertedCheckpoint
) -> dict[str, str]:
    """Describe the order of classes and the normalisation of pixels.

    Weights alone don't say either.

    Returns:
        Dict[str, str]: A description for ``'classes'`` and for ``'pixels'``.
    """
    classes = {
        'cifar10': 'those of CIFAR-10 in the order of its files (airplane '
        'to truck), as in CIFAR10 of MMPretrain',
        'cifar100': 'the fine ones of CIFAR-100 in the order of its files '
        '(apple to worm), as in CIFAR100 of MMPretrain',
        'in1k': 'those of ImageNet-1K by WordNet ID (tench to toilet tissue), '
        'as in ImageNet of MMPretrain',
        None: 'unknown; their order is that of the labels in training',
    }[converted.data]
    if arch == 'resnet18_cifar':
        pixels = (
            'RGB in [0, 1] minus (0.4914, 0.4822, 0.4465), over '
            "(0.2023, 0.1994, 0.2010), in the authors' scripts for "
            'CIFAR-10 and CIFAR-100 alike'
        )
    else:
        pixels = (
            'RGB in [0, 1] minus (0.485, 0.456, 0.406), over (0.229, '
            "0.224, 0.225), as in torchvision; the authors' scripts change "
            'nothing about it'
        )
    return dict(classes=classes, pixels=pixels)
