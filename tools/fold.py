"""Write a model with one reference as a plain model.

Usage: ``python tools/fold.py CONFIG CHECKPOINT OUT_DIR``.
"""

import argparse

from mmanchor.checkpoints.safe_loading import (
    FLAG_ADVICE,
    add_trust_flag,
    checkpoint_loading,
)
from mmanchor.engine.cli import add_cfg_options, import_from_here
from mmanchor.export.fold import fold_checkpoint
from mmanchor.utils.config import read_config
from mmanchor.utils.files import user_path


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description='Write an anchored model with its first reference as a '
        "plain one: a config and weights for MMPretrain's tools."
    )
    parser.add_argument('config', type=user_path, help='config file')
    parser.add_argument('checkpoint', type=user_path, help='checkpoint file')
    parser.add_argument(
        'out_dir', type=user_path, help='folder for folded.py and folded.pth'
    )
    add_trust_flag(parser)
    add_cfg_options(parser)
    return parser


def main() -> None:
    args = make_parser().parse_args()
    import_from_here()
    cfg = read_config(args.config, args.cfg_options)
    with checkpoint_loading(args.allow_code_in_checkpoints, FLAG_ADVICE):
        comparison = fold_checkpoint(
            cfg, args.checkpoint, args.out_dir, args.allow_code_in_checkpoints
        )
    print(
        f'Wrote folded.py and folded.pth to {args.out_dir}: folded and '
        f'anchored logits differ by {comparison.difference:.1e} of the '
        f'largest, on {comparison.images}.'
    )


if __name__ == '__main__':
    main()
