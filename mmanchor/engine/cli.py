"""Command-line flags that several tools share."""

import argparse
import os
import sys
from collections.abc import Mapping

import torch
from mmengine.config import DictAction

from ..utils.console import print_in_any_locale


def add_cfg_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--cfg-options``, named as MMPretrain's."""
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        metavar='KEY=VALUE',
        help='change settings of the config, as in optim_wrapper.optimizer.'
        'lr=0.1 or model.backbone.out_indices="[3]"',
    )


def add_device_flag(parser: argparse.ArgumentParser) -> None:
    """Add ``--device``, which defaults to the GPU if there is one."""
    parser.add_argument(
        '--device',
        default='cuda' if torch.cuda.is_available() else 'cpu',
        help='default: %(default)s',
    )


def add_reading_flags(
    parser: argparse.ArgumentParser, batch_size: int
) -> None:
    """Add ``--batch-size`` and ``--workers``, the threads that read images."""
    parser.add_argument(
        '--batch-size',
        type=int,
        default=batch_size,
        help='default: %(default)s',
    )
    parser.add_argument(
        '--workers',
        type=int,
        default=min(8, os.cpu_count() or 1),
        help='threads that read images (default: %(default)s)',
    )


def check_reading_flags(batch_size: int, workers: int) -> None:
    """Check what :func:`add_reading_flags` adds."""
    check_positive({'--batch-size': batch_size, '--workers': workers})


def check_positive(values: Mapping[str, int]) -> None:
    """Raise if one of several numbers, by name, is below 1.

    Raises:
        ValueError: A number is below 1.
    """
    for name, value in values.items():
        if value < 1:
            raise ValueError(
                f'Expected {name} to be at least 1, but got {value}. Change '
                'it.'
            )


def import_from_here() -> None:
    """Let configs import a user's own modules from the working directory.

    Every tool that reads a config calls this first, so it also lets the tool
    print any character in any locale.
    """
    print_in_any_locale()
    sys.path.insert(0, os.getcwd())
