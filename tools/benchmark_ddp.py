"""Time standard against anchored steps of processes that train together."""

import argparse
import os

# before torch comes in: the profiler, which counts what is sent, would tell
# of every start
os.environ.setdefault('KINETO_LOG_LEVEL', '99')
os.environ.setdefault('TORCH_CPP_LOG_LEVEL', 'ERROR')

import mmanchor.benchmarks.ddp as benchmark_ddp
import mmanchor.benchmarks.ddp_step as ddp_step
import mmanchor.benchmarks.settings as benchmark_settings
import mmanchor.engine.cli as command_line
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
        help=f'among {", ".join(ddp_step.VARIANTS)} (default: plain)',
    )
    defaults = benchmark_settings.BenchmarkSettings()
    for name, text in (
        ('batch_size', 'images in a batch of a process'),
        ('rounds', 'rounds, a step of each model in each'),
        ('warmup', 'rounds before that'),
        ('seed', 'of weights, images and order'),
    ):
        parser.add_argument(
            f'--{name.replace("_", "-")}',
            type=int,
            default=getattr(defaults, name),
            help=f'{text} (default: %(default)s)',
        )
    parser.add_argument(
        '--size', type=int, help="of the images; the config's by default"
    )
    parser.add_argument(
        '--device',
        choices=['cpu', 'cuda'],
        default='cpu',
        help='cuda: a GPU each (default: %(default)s)',
    )
    parser.add_argument(
        '--out',
        type=user_path,
        default='work_dirs/benchmark_ddp',
        metavar='FOLDER',
        help='for benchmark_ddp.json (default: %(default)s)',
    )
    command_line.add_cfg_options(parser)
    return parser


def main() -> None:
    args = vars(make_parser().parse_args())
    command_line.import_from_here()
    config, processes, variants, out, options = (
        args.pop(name)
        for name in ('config', 'processes', 'variants', 'out', 'cfg_options')
    )
    settings = benchmark_settings.BenchmarkSettings(
        **args, num_references=1, num_candidates=1, num_residuals=1
    )
    benchmark_ddp.run_ddp_benchmark(
        config, settings, out, processes, variants, options
    )


if __name__ == '__main__':
    main()
