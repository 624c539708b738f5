"""Export a model: ``python tools/export.py CONFIG CHECKPOINT OUT``."""

import argparse

from mmanchor.checkpoints.safe_loading import (
    FLAG_ADVICE,
    add_trust_flag,
    checkpoint_loading,
)
from mmanchor.engine.cli import add_cfg_options, import_from_here
from mmanchor.export.onnx import export_checkpoint
from mmanchor.utils.config import read_config
from mmanchor.utils.files import user_path


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description='Export an anchored model with its references as '
        'constants. With one reference, the result is a plain model.'
    )
    parser.add_argument('config', type=user_path, help='config file')
    parser.add_argument('checkpoint', type=user_path, help='checkpoint file')
    parser.add_argument(
        'out', type=user_path, help='FILE.onnx, or FILE.pt2 for torch.export'
    )
    parser.add_argument(
        '--num-references',
        type=int,
        metavar='K',
        help='number of references; that of the config by default',
    )
    parser.add_argument(
        '--opset',
        type=int,
        metavar='N',
        help="operator set of ONNX (default: PyTorch's)",
    )
    parser.add_argument(
        '--batch-size',
        type=int,
        default=2,
        metavar='B',
        help='size of the traced batch (default: 2); the file takes any size',
    )
    parser.add_argument(
        '--pixels',
        action='store_true',
        help='include normalisation, so that the file takes images as the '
        'test pipeline packs them',
    )
    add_trust_flag(parser)
    add_cfg_options(parser)
    return parser


def main() -> None:
    args = make_parser().parse_args()
    import_from_here()
    cfg = read_config(args.config, args.cfg_options)
    with checkpoint_loading(args.allow_code_in_checkpoints, FLAG_ADVICE):
        comparison, images = export_checkpoint(
            cfg,
            args.checkpoint,
            args.out,
            args.num_references,
            args.opset,
            args.batch_size,
            args.pixels,
            args.allow_code_in_checkpoints,
        )
    print(
        f'Wrote {args.out}: input `images` {images}; its `logits` differ '
        f"from the anchored model's by {comparison.difference:.1e} of the "
        f'largest, on {comparison.images}, in batches of other sizes than the '
        'traced one.'
    )


if __name__ == '__main__':
    main()
