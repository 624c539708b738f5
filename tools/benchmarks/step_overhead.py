"""Measure how much CPU time anchoring adds to a training step.

The script times the data preprocessor, and the head with its loss, of an
anchored model and of MMPretrain's on the same batches. With ``--against`` it
also times the code of another checkout, in the same rounds, so that other
programs on the machine disturb both alike::

    python tools/benchmarks/step_overhead.py --against ../before

With ``--size 1`` an image has one pixel. What remains is the work of Python
and of PyTorch's dispatcher, which a GPU waits for in every step.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from time_and_memory import quartiles, shuffled_rounds

CLASSES = 10
CASES = ('preprocessor', 'head and loss')


def make_parser() -> argparse.ArgumentParser:
    """Make the parser of the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--against', metavar='CHECKOUT')
    parser.add_argument(
        '--batch-size', type=int, nargs='+', default=[256, 512]
    )
    parser.add_argument('--size', type=int, nargs='+', default=[1, 32])
    parser.add_argument(
        '--mask-by', nargs='+', default=['batch', 'sample'], metavar='WORD'
    )
    parser.add_argument('--rounds', type=int, default=15)
    parser.add_argument('--steps', type=int, default=8)
    parser.add_argument(
        '--worker', action='store_true', help=argparse.SUPPRESS
    )
    return parser


def main(argv=None):
    """Print a table, and the same numbers as one line of JSON."""
    args = make_parser().parse_args(argv)
    if args.worker:
        return _serve_rounds()
    trees = {'this checkout': Path(__file__).parents[2]}
    if args.against:
        trees['the other'] = Path(args.against).resolve()
    workers = {name: _Worker(tree) for name, tree in trees.items()}
    rows = []
    for batch_size in args.batch_size:
        for size in args.size:
            for mask_by in args.mask_by:
                setting = dict(
                    batch_size=batch_size,
                    size=size,
                    mask_by=mask_by,
                    steps=args.steps,
                )
                rows += _compare(workers, setting, args.rounds)
    for worker in workers.values():
        worker.close()
    for row in rows:
        over = row['over']
        print(
            f'{row["tree"]:14} B={row["batch_size"]:<4} {row["size"]:>3} px '
            f'{row["mask_by"]:7} {row["case"]:14} '
            f'host {row["host"]:6.2f} ms, over it {over["median"]:+6.2f} '
            f'[{over["low"]:+.2f}, {over["high"]:+.2f}] ms'
        )
    print(json.dumps(rows))


def _compare(workers, setting, rounds):
    times = {name: [] for name in workers}
    for index, name in shuffled_rounds(workers, rounds + 1):
        milliseconds = workers[name].run_round(setting)
        if index:  # The first round is a warm-up.
            times[name].append(milliseconds)
    return [
        dict(
            tree=name,
            case=case,
            host=statistics.median(one[case]['host'] for one in times[name]),
            over=quartiles(
                one[case]['ours'] - one[case]['host'] for one in times[name]
            ),
            **setting,
        )
        for case in CASES
        for name in workers
    ]


class _Worker:
    """A process that runs the code of one checkout."""

    def __init__(self, tree: Path):
        others = os.environ.get('PYTHONPATH', '').split(os.pathsep)
        path = os.pathsep.join([str(tree), *filter(None, others)])
        self.process = subprocess.Popen(
            [sys.executable, __file__, '--worker'],
            env={**os.environ, 'PYTHONPATH': path},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run_round(self, setting: dict) -> dict:
        """Return milliseconds by case, of MMPretrain's modules and of ours."""
        self.process.stdin.write(json.dumps(setting) + '\n')
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def close(self) -> None:
        """End the process."""
        self.process.stdin.close()
        self.process.wait()


def _serve_rounds():
    """Run a round for each line of JSON on standard input."""
    import torch

    torch.set_num_threads(1)
    # Libraries print when they are imported: keep that out of the results.
    results, sys.stdout = sys.stdout, sys.stderr
    for line in sys.stdin:
        milliseconds = _run_round(**json.loads(line))
        print(json.dumps(milliseconds), file=results, flush=True)


def _run_round(batch_size, size, mask_by, steps):
    import torch
    from mmengine.registry import init_default_scope
    from mmpretrain.registry import MODELS
    from mmpretrain.structures import DataSample

    import mmanchor  # noqa: F401

    init_default_scope('mmpretrain')
    settings = dict(mean=[127.5] * 3, std=[64.0] * 3)
    head = dict(num_classes=CLASSES, in_channels=64)
    preprocessors = dict(
        host=MODELS.build(dict(type='ClsDataPreprocessor', **settings)),
        ours=MODELS.build(
            dict(
                type='AnchoringDataPreprocessor',
                mask_by=mask_by,
                seed=0,
                **settings,
            )
        ),
    )
    heads = dict(
        host=MODELS.build(dict(type='LinearClsHead', **head)),
        ours=MODELS.build(dict(type='ReferenceMaskingLinearClsHead', **head)),
    )
    images = torch.randint(256, (batch_size, 3, size, size), dtype=torch.uint8)
    feats = (torch.randn(batch_size, 64),)
    times = {case: dict(host=[], ours=[]) for case in CASES}
    for _ in range(steps):
        for name in ('host', 'ours'):
            samples = [
                DataSample().set_gt_label(i % CLASSES)
                for i in range(batch_size)
            ]
            batch = dict(inputs=images, data_samples=samples)
            start = time.thread_time()
            batch = preprocessors[name](batch, training=True)
            middle = time.thread_time()
            heads[name].loss(feats, batch['data_samples'])
            end = time.thread_time()
            times[CASES[0]][name].append(1000 * (middle - start))
            times[CASES[1]][name].append(1000 * (end - middle))
    return {
        case: {
            name: statistics.mean(of_model)
            for name, of_model in of_case.items()
        }
        for case, of_case in times.items()
    }


if __name__ == '__main__':
    main()
