"""Fold one reference: ``python tools/fold.py CONFIG CHECKPOINT OUT_DIR``."""
import argparse
import os
import sys

from mmengine.config import Config, DictAction

from mmanchor.engine.folded_files import write_folded

sys.path.insert(0, os.getcwd())  # where a user's own backbone is


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description='Write an anchored model with its first reference as a '
        "plain one: a config and weights for MMPretrain's tools.")
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument('out_dir', help='folder for folded.py and folded.pth')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        metavar='KEY=VALUE',
        help='change settings of the config')
    return parser


def main() -> None:
    args = make_parser().parse_args()
    cfg = Config.fromfile(args.config)
    cfg.merge_from_dict(args.cfg_options or {})
    found = write_folded(cfg, args.checkpoint, args.out_dir)
    print(f'Wrote folded.py and folded.pth to {args.out_dir}: folded and '
          f'anchored logits differ by {found.difference:.1e} of the largest, '
          f'on {found.images}.')


if __name__ == '__main__':
    main()
