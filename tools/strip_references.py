"""Remove training images: ``tools/strip_references.py CHECKPOINT OUT``.

The weights do not change. A test with the new checkpoint draws references from
the training set, or from public images with ``tools/test.py --source FOLDER``.
"""

import argparse

import mmanchor  # noqa: F401
from mmanchor.checkpoints.safe_loading import (
    FLAG_ADVICE,
    add_trust_flag,
    checkpoint_loading,
)
from mmanchor.checkpoints.stripping import strip_checkpoint
from mmanchor.utils.console import print_in_any_locale
from mmanchor.utils.files import user_path


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description='Write a checkpoint without its reference bank.'
    )
    parser.add_argument('checkpoint', type=user_path, help='checkpoint file')
    parser.add_argument(
        'out', type=user_path, metavar='OUT', help='checkpoint to write'
    )
    add_trust_flag(parser)
    return parser


def main() -> None:
    print_in_any_locale()
    args = make_parser().parse_args()
    allow_code = args.allow_code_in_checkpoints
    with checkpoint_loading(allow_code, FLAG_ADVICE):
        removed = strip_checkpoint(args.checkpoint, args.out, allow_code)
    for key, images in removed.items():
        print(f'removed: {key} {tuple(images.shape)}')
    print(f'Written: {args.out}')


if __name__ == '__main__':
    main()
