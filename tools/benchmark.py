"""Time standard against anchored models: ``tools/benchmark.py CONFIG …``.

Training steps and predictions are timed, each beside a naive implementation.
The work is done by the modules in ``tools/benchmarks``.
"""

import argparse
import os
import sys
from pathlib import Path

# PyTorch reads these when it is imported: without them its profiler, which
# counts memory, prints a line at every start.
os.environ.setdefault('KINETO_LOG_LEVEL', '99')
os.environ.setdefault('TORCH_CPP_LOG_LEVEL', 'ERROR')
sys.path.insert(0, str(Path(__file__).resolve().parent / 'benchmarks'))

from benchmark_settings import (
    CASES,
    DATA,
    BenchmarkSettings,
    add_settings_flags,
)
from comparison import run_benchmark

from mmanchor.checkpoints.safe_loading import (
    FLAG_ADVICE,
    add_trust_flag,
    checkpoint_loading,
)
from mmanchor.engine.cli import add_cfg_options, import_from_here
from mmanchor.utils.files import user_path


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description='Time standard against anchored models.'
    )
    parser.add_argument(
        'configs',
        type=user_path,
        nargs='+',
        metavar='CONFIG',
        help='plain or anchored configs; mmpretrain::FOLDER/NAME.py for one '
        'of MMPretrain',
    )
    parser.add_argument(
        '--checkpoint',
        type=user_path,
        nargs='+',
        metavar='FILE',
        help='one for each config; untrained weights by default',
    )
    add_settings_flags(
        parser,
        batch_size='images in a batch',
        rounds='rounds, each of which runs every case',
        warmup='rounds before the measured ones',
        num_references='K',
        num_candidates='M, the references that transduction chooses from',
        num_residuals='N, the residuals that it compares with',
        seed='of weights, images and the order of cases',
    )
    parser.add_argument(
        '--min-seconds',
        type=float,
        default=BenchmarkSettings.min_seconds,
        help='short cases are repeated within a round until they take about '
        'as long (default: %(default)s)',
    )
    parser.add_argument('--device', choices=['cpu', 'cuda'], default='cpu')
    parser.add_argument(
        '--amp', action='store_true', help='run forward passes in bfloat16'
    )
    parser.add_argument(
        '--cases',
        nargs='+',
        metavar='CASE',
        default=BenchmarkSettings.cases,
        help=f'train, test, or some of {", ".join(CASES)}',
    )
    parser.add_argument(
        '--data',
        choices=DATA,
        default=BenchmarkSettings.data,
        help="noise, or images of the config's test set (default: noise)",
    )
    parser.add_argument(
        '--out',
        type=user_path,
        default='work_dirs/benchmark',
        metavar='FOLDER',
        help='for benchmark.json and benchmark.png (default: %(default)s)',
    )
    add_trust_flag(parser)
    add_cfg_options(parser)
    return parser


def main() -> None:
    args = vars(make_parser().parse_args())
    import_from_here()
    allow_code = args.pop('allow_code_in_checkpoints')
    configs, out, checkpoints, options = (
        args.pop(name)
        for name in ('configs', 'out', 'checkpoint', 'cfg_options')
    )
    settings = BenchmarkSettings(**args)
    with checkpoint_loading(allow_code, FLAG_ADVICE):
        run_benchmark(configs, settings, out, checkpoints, options, allow_code)


if __name__ == '__main__':
    main()
