"""Convert weights: ``convert_checkpoint.py SOURCE TARGET --arch NAME``.

The source names its weights as torchvision does, like the checkpoints that the
authors of the paper released. The target names them as MMPretrain does. See
docs/convert.md.
"""

import argparse

import mmanchor  # noqa: F401
from mmanchor.checkpoints.conversion import (
    WEIGHT_KEYS,
    convert_checkpoint,
    describe_conventions,
)
from mmanchor.checkpoints.safe_loading import (
    FLAG_ADVICE,
    add_trust_flag,
    checkpoint_loading,
)
from mmanchor.checkpoints.torchvision_weights import ARCHITECTURES
from mmanchor.utils.console import print_in_any_locale
from mmanchor.utils.files import user_path


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="Write a checkpoint with torchvision's names, anchored "
        "(6 channels) or plain (3), as one of MMPretrain's."
    )
    parser.add_argument(
        'source', type=user_path, metavar='SOURCE', help='checkpoint file'
    )
    parser.add_argument(
        'target', type=user_path, metavar='TARGET', help='file to write'
    )
    parser.add_argument(
        '--arch',
        required=True,
        choices=ARCHITECTURES,
        help="torchvision's name of the model",
    )
    parser.add_argument(
        '--weights',
        choices=WEIGHT_KEYS,
        help='the weights to convert, if the checkpoint has several; the '
        'first of these that it has by default',
    )
    parser.add_argument(
        '--force', action='store_true', help='replace TARGET if it exists'
    )
    add_trust_flag(parser)
    return parser


def main() -> None:
    print_in_any_locale()
    args = make_parser().parse_args()
    allow_code = args.allow_code_in_checkpoints
    with checkpoint_loading(allow_code, FLAG_ADVICE):
        converted = convert_checkpoint(
            args.source,
            args.target,
            args.arch,
            args.weights,
            args.force,
            allow_code,
        )
    kind = 'an anchored model' if converted.channels == 6 else 'a plain model'
    place = f', from {converted.place!r}' if converted.place else ''
    print(
        f'{args.arch}, {kind} ({converted.channels} channels), '
        f'{converted.num_classes} classes{place}'
    )
    for name, text in describe_conventions(args.arch, converted).items():
        print(f'{name}: {text}')
    print(f'config: {converted.config or "none here for that many classes"}')
    print(f'Written: {args.target}')


if __name__ == '__main__':
    main()
