"""Corrupt images as ImageNet-C or CIFAR-10-C are.

    python tools/make_corruptions.py SOURCE OUT

An array becomes a set in the layout of CIFAR-10-C, and class folders become a
set in the layout of ImageNet-C. ``--settings`` chooses the strength of the
severities. A stopped run continues when the same command is run again.
"""

import argparse
import os
import sys

from mmanchor.datasets import ALL_C_KINDS
from mmanchor.datasets.corruptions.cli import make_corruptions
from mmanchor.datasets.shifts.kinds import IMAGENET_C, SETTINGS
from mmanchor.utils.console import print_in_any_locale
from mmanchor.utils.files import user_path


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description='Write a corrupted set in its published layout.'
    )
    parser.add_argument(
        'source',
        type=user_path,
        metavar='SOURCE',
        help='.npy of (N, H, W, 3) uint8 RGB, or folder with class folders',
    )
    parser.add_argument(
        'out', type=user_path, metavar='OUT', help='folder to write to'
    )
    parser.add_argument(
        '--labels',
        type=user_path,
        metavar='FILE',
        help='.npy of N labels, with an array',
    )
    parser.add_argument(
        '--size',
        type=int,
        help='cut images of folders to a square: 224 for ImageNet-C',
    )
    parser.add_argument(
        '--kinds',
        nargs='+',
        choices=ALL_C_KINDS,
        default=ALL_C_KINDS,
        metavar='KIND',
        help=f'some of {", ".join(ALL_C_KINDS)} (default: all)',
    )
    parser.add_argument(
        '--settings',
        choices=tuple(SETTINGS),
        default=IMAGENET_C,
        help='how strong severities 1 to 5 are: cifar-c, which is milder, for '
        'images of about 32 pixels (default: %(default)s, for any size)',
    )
    parser.add_argument(
        '--seed', type=int, default=0, help='default: %(default)s'
    )
    parser.add_argument(
        '--workers',
        type=int,
        default=os.cpu_count() or 1,
        help='processes (default: one a core)',
    )
    return parser


def main() -> None:
    print_in_any_locale()
    try:
        make_corruptions(**vars(make_parser().parse_args()))
    except KeyboardInterrupt:
        sys.exit('Stopped. Run the same command again to continue.')


if __name__ == '__main__':
    main()
