"""Time standard against anchored models: ``tools/benchmark.py CONFIG …``.

Training steps and answers to plain images, each with what a naive
implementation takes, in one run.
"""

import argparse
import os

# before torch comes in: the profiler, which counts memory, would tell of
# every start
os.environ.setdefault('KINETO_LOG_LEVEL', '99')
os.environ.setdefault('TORCH_CPP_LOG_LEVEL', 'ERROR')

import mmanchor.benchmarks.compare as benchmark
import mmanchor.benchmarks.settings as benchmark_settings
import mmanchor.checkpoints.safe_loading as untrusted
import mmanchor.engine.cli as command_line
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
        help='one a config; untrained weights by default',
    )
    defaults = benchmark_settings.BenchmarkSettings()
    for name, text in (
        ('batch_size', 'images in a batch'),
        ('rounds', 'rounds, each of which runs every case'),
        ('warmup', 'rounds before that'),
        ('num_references', 'K'),
        ('num_candidates', 'M, which transduction searches'),
        ('num_residuals', 'N, which it compares with'),
        ('seed', 'of weights, images and the order of cases'),
    ):
        parser.add_argument(
            f'--{name.replace("_", "-")}',
            type=int,
            default=getattr(defaults, name),
            help=f'{text} (default: %(default)s)',
        )
    parser.add_argument(
        '--min-seconds',
        type=float,
        default=defaults.min_seconds,
        help='short cases are repeated within a round until they take about '
        'as long (default: %(default)s)',
    )
    parser.add_argument(
        '--size', type=int, help="of the images; the config's by default"
    )
    parser.add_argument('--device', choices=['cpu', 'cuda'], default='cpu')
    parser.add_argument(
        '--amp', action='store_true', help='forward passes in bfloat16'
    )
    parser.add_argument(
        '--cases',
        nargs='+',
        metavar='CASE',
        default=defaults.cases,
        help=f'train, test, or some of {", ".join(benchmark_settings.CASES)}',
    )
    parser.add_argument(
        '--data',
        choices=benchmark_settings.DATA,
        default=defaults.data,
        help="noise, or images of the config's test set (default: noise)",
    )
    parser.add_argument(
        '--out',
        type=user_path,
        default='work_dirs/benchmark',
        metavar='FOLDER',
        help='for benchmark.json and benchmark.png (default: %(default)s)',
    )
    untrusted.add_trust_flag(parser)
    command_line.add_cfg_options(parser)
    return parser


def main() -> None:
    args = vars(make_parser().parse_args())
    command_line.import_from_here()
    allow_code = args.pop('allow_code_in_checkpoints')
    rest = [
        args.pop(name)
        for name in ('configs', 'out', 'checkpoint', 'cfg_options')
    ]
    configs, *others = rest
    settings = benchmark_settings.BenchmarkSettings(**args)
    with untrusted.checkpoint_loading(allow_code, untrusted.FLAG_ADVICE):
        benchmark.run_benchmark(configs, settings, *others, allow_code)


if __name__ == '__main__':
    main()
