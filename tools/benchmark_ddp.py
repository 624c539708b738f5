"""Time standard against anchored training steps of several processes.

The work is done by the modules in ``tools/benchmarks``.
"""

import argparse
import os
import sys
from pathlib import Path

# PyTorch reads these when it is imported: without them its profiler, which
# counts what is sent, prints a line at every start.
os.environ.setdefault('KINETO_LOG_LEVEL', '99')
os.environ.setdefault('TORCH_CPP_LOG_LEVEL', 'ERROR')
sys.path.insert(0, str(Path(__file__).resolve().parent / 'benchmarks'))

from benchmark_settings import BenchmarkSettings, add_settings_flags
from distributed_steps import VARIANTS, run_ddp_benchmark

from mmanchor.engine.cli import add_cfg_options, import_from_here
from mmanchor.utils.files import user_path


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description='Time standard against anchored training steps of several '
        'processes (DistributedDataParallel), and count what they send.'
    )
    parser.add_argument(
        'config',
        type=user_path,
        help='plain or anchored; mmpretrain::FOLDER/NAME.py for one of '
        'MMPretrain',
    )
    parser.add_argument(
        '--processes', type=int, default=2, help='(default: %(default)s)'
    )
    parser.add_argument(
        '--variants',
        nargs='+',
        default=['plain'],
        metavar='VARIANT',
        help=f'among {", ".join(VARIANTS)} (default: plain)',
    )
    add_settings_flags(
        parser,
        batch_size='images in a batch of a process',
        rounds='rounds, each with a step of both models',
        warmup='rounds before the measured ones',
        seed='of weights, images and order',
    )
    parser.add_argument(
        '--device',
        choices=['cpu', 'cuda'],
        default='cpu',
        help='cuda: one GPU for each process (default: %(default)s)',
    )
    parser.add_argument(
        '--out',
        type=user_path,
        default='work_dirs/benchmark_ddp',
        metavar='FOLDER',
        help='for benchmark_ddp.json (default: %(default)s)',
    )
    add_cfg_options(parser)
    return parser


def main() -> None:
    args = vars(make_parser().parse_args())
    import_from_here()
    config, processes, variants, out, options = (
        args.pop(name)
        for name in ('config', 'processes', 'variants', 'out', 'cfg_options')
    )
    settings = BenchmarkSettings(
        **args, num_references=1, num_candidates=1, num_residuals=1
    )
    run_ddp_benchmark(config, settings, out, processes, variants, options)


if __name__ == '__main__':
    main()
