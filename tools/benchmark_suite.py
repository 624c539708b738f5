"""Time the safety suite against MMPretrain's test loop:
``python tools/benchmark_suite.py CONFIG CHECKPOINT --suite cifar10-folders``.
"""

import argparse
from pathlib import Path

from mmanchor.benchmarks.suite_speed import compare_with_runner, save_random
from mmanchor.checkpoints.safe_loading import (
    FLAG_ADVICE,
    add_trust_flag,
    checkpoint_loading,
)
from mmanchor.engine.cli import add_cfg_options, import_from_here
from mmanchor.engine.run_checks import check_out
from mmanchor.suite.candidates import Candidate
from mmanchor.suite.settings import Settings
from mmanchor.suite.spec import load_suite
from mmanchor.utils.config import read_config


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description='Both take the corrupted images of a suite by turns; '
        'prints how many times faster the suite is, and whether figures '
        'differ.'
    )
    parser.add_argument('config', help='config file')
    parser.add_argument(
        'checkpoint',
        nargs='?',
        help='checkpoint file (default: random weights, which take as long)',
    )
    parser.add_argument('--suite', required=True, help='with corrupted arrays')
    parser.add_argument('--data-root', default='data', metavar='FOLDER')
    parser.add_argument(
        '--rounds',
        type=int,
        default=10,
        help='kinds and severities to take (default: %(default)s)',
    )
    parser.add_argument('--batch-size', type=int, default=256)
    parser.add_argument('--workers', type=int, default=2)
    parser.add_argument('--device', default='cpu')
    parser.add_argument('--out', default='work_dirs/benchmark_suite.json')
    add_trust_flag(parser)
    add_cfg_options(parser)
    return parser


def main() -> None:
    args = make_parser().parse_args()
    check_out(args.out)
    import_from_here()
    cfg = read_config(args.config, args.cfg_options)
    out = Path(args.out)
    checkpoint = args.checkpoint or save_random(cfg, out.with_suffix('.pth'))
    candidate = Candidate(
        'model', cfg, checkpoint, args.config, args.allow_code_in_checkpoints
    )
    settings = Settings(args.batch_size, args.workers, args.device)
    with checkpoint_loading(args.allow_code_in_checkpoints, FLAG_ADVICE):
        compare_with_runner(
            load_suite(args.suite, args.data_root),
            candidate,
            settings,
            args.rounds,
            out,
        )


if __name__ == '__main__':
    main()
