"""Checkpoints of the paper's released code, and torchvision's, taken over."""

import argparse
import hashlib
import os
from pathlib import Path
from typing import NamedTuple

import torch
from mmpretrain.datasets.categories import (
    CIFAR10_CATEGORIES,
    CIFAR100_CATEGORIES,
    IMAGENET_CATEGORIES,
)

from ..utils.files import whole_files
from ..version import __version__
from .safe_loading import load_local
from .torchvision_weights import (
    ARCHITECTURES,
    find_architecture,
    misfits,
    rename,
    rename_aliases,
)
from .verification import check_checkpoint, is_remote
from .weight_files import Weights, find_weights, some_of

_DATA = {
    ('resnet18_cifar', 10): ('cifar10', CIFAR10_CATEGORIES),
    ('resnet18_cifar', 100): ('cifar100', CIFAR100_CATEGORIES),
    **{(arch, 1000): ('in1k', IMAGENET_CATEGORIES)
       for arch in ARCHITECTURES if arch != 'resnet18_cifar'},
}  # yapf: disable


class Converted(NamedTuple):
    """What was converted.

    Attributes:
        place (str, optional): Where in the source the weights were; None: it
            had nothing else.
        channels (int): 3 of a plain model, 6 of an anchored one.
        num_classes (int): How many classes it tells apart.
        data (str, optional): The data set it must be of, going by the number
            of classes: ``'cifar10'``, ``'cifar100'`` or ``'in1k'``.
        config (str, optional): The config that it is evaluated with.
        weights (Dict[str, torch.Tensor]): By MMPretrain's names.
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
) -> Converted:
    """Turn a checkpoint with torchvision's names into MMPretrain's weights.

    Args:
        checkpoint (dict): See
            :func:`~mmanchor.checkpoints.weight_files.find_weights`.
        arch (str): One of
            ``mmanchor.checkpoints.torchvision_weights.ARCHITECTURES``.
        place (str, optional): See there.
        path (str): What to call the checkpoint.

    Returns:
        Converted: The weights, and what is known of them.

    Raises:
        ValueError: ``arch`` is not known; there are no weights, or those of
            another architecture, or of images of other than 3 channels.

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
            f'{", ".join(ARCHITECTURES)}, but got {arch!r}.'
        )
    weights, place = find_weights(checkpoint, place, path)
    weights = rename_aliases(weights)
    _check_architecture(weights, arch, path)
    architecture = ARCHITECTURES[arch]
    channels = weights[architecture.stem].size(1)
    if channels not in (3, 6):
        raise ValueError(
            f'Expected {architecture.stem} of {path} to read 3 channels (a '
            f'plain model) or 6 (an anchored one), but it reads {channels}. '
            'Convert a model for images of 3 channels.'
        )
    num_classes = len(weights[f'{architecture.head}.bias'])
    data, _ = _DATA.get((arch, num_classes), (None, None))
    config = data and (
        f'configs/converted/{architecture.config}'
        f'{"_anchored" if channels == 6 else ""}_{data}.py'
    )
    return Converted(
        place, channels, num_classes, data, config, rename(weights, arch)
    )


def convert_file(
    source: str,
    target: str,
    arch: str,
    place: str | None = None,
    force: bool = False,
    allow_code: bool = False,
) -> Converted:
    """Write a checkpoint of MMPretrain's from one with torchvision's names.

    It has nothing but weights; its ``meta`` says where they come from.

    Args:
        source (str): The checkpoint, which stays as it is.
        target (str): Where to write.
        arch (str): See :func:`convert`.
        place (str, optional): See :func:`convert`.
        force (bool): Replace the target if it is there. Defaults to False.
        allow_code (bool): Run the code that the source holds, if any.
            Defaults to False.

    Returns:
        Converted: See :func:`convert`.

    Raises:
        FileNotFoundError: There is no such source.
        ValueError: It is damaged, holds code, or see :func:`convert`; or the
            target is there already.
    """
    if is_remote(source):
        raise ValueError(f'Expected a file, but got {source}. Download it.')
    check_checkpoint(source)
    if os.path.realpath(source) == os.path.realpath(target):
        raise ValueError(
            f'Expected another file than {source} to write to. Name one.'
        )
    if os.path.lexists(target) and not force:
        raise ValueError(
            f'Expected a file to write that is not there yet, '
            f'but {target} is. Name another, or add `--force`.'
        )
    # torchvision's reference training saves its command line, which is
    # nothing but names and values
    checkpoint = load_local(source, 'cpu', allow_code, [argparse.Namespace])
    converted = convert(checkpoint, arch, place, source)
    _, classes = _DATA.get((arch, converted.num_classes), (None, None))
    meta = dict(
        mmanchor_version=__version__,
        converted=dict(
            source=Path(source).name,
            sha256=_sha256(source),
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
    wrong = misfits(weights, arch)
    if not wrong:
        return
    if any(name.startswith('backbone.') for name in weights):
        raise ValueError(
            f'Expected the names of torchvision in {path}, but '
            'it has those of MMPretrain. Use it as it is.'
        )
    fitting = find_architecture(weights)
    if fitting is not None:
        advice = f'They are those of {fitting}: use `--arch {fitting}`.'
    else:
        advice = (
            'They are of none that can be converted '
            f'({", ".join(ARCHITECTURES)}).'
        )
    raise ValueError(
        f'Expected the weights of {arch}, but those of {path} differ in '
        f'{len(wrong)}: {some_of(wrong)}. {advice}'
    )


def _sha256(path: str) -> str:
    digest = hashlib.sha256()
    with open(path, 'rb') as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def about(arch: str, converted: Converted) -> dict[str, str]:
    """What is known of classes and pixels that the weights don't say.

    Args:
        arch (str): See :func:`convert`.
        converted (Converted): What it gave.

    Returns:
        Dict[str, str]: ``'classes'`` and ``'pixels'``, a sentence or two.
    """
    classes = {
        'cifar10': 'those of CIFAR-10 in the order of its files (airplane '
        'to truck), as in CIFAR10 of MMPretrain',
        'cifar100': 'the fine ones of CIFAR-100 in the order of its files '
        '(apple to worm), as in CIFAR100 of MMPretrain',
        'in1k': 'those of ImageNet-1K by WordNet ID (tench to toilet tissue), '
        'as in ImageNet of MMPretrain',
        None: 'not known; their order is that of the labels it was trained '
        'with',
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
            "0.224, 0.225), torchvision's; the authors' scripts set no "
            'other'
        )
    return dict(classes=classes, pixels=pixels)
