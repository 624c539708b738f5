"""What K references cost, by the place where features are anchored.

Times a ResNet-18 for 32-pixel images on a CPU with each `anchor_at`, and the
plain model, in turns within every round, by processor time. The features of
the references are computed before::

    OMP_NUM_THREADS=1 python tools/benchmarks/any_depth.py
"""

import argparse
import statistics
import time

import torch
from mmpretrain.registry import MODELS
from rich.console import Console
from rich.table import Table

import mmanchor  # noqa: F401, registers the models

PLACES = ('image', 'layer2', 'layer3', 'layer4', 'head')
NETWORK = dict(
    backbone=dict(type='ResNet_CIFAR', depth=18),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='LinearClsHead', num_classes=10, in_channels=512),
)


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--num-references', type=int, default=10, metavar='K')
    parser.add_argument('--batch-size', type=int, default=16)
    parser.add_argument('--rounds', type=int, default=9)
    return parser


@torch.no_grad()
def measure(num_references: int, batch_size: int, rounds: int) -> dict:
    """Ratios to the plain model's time in the same round, by place."""
    images = torch.randn(batch_size, 3, 32, 32)
    plain = MODELS.build(dict(NETWORK, type='ImageClassifier')).eval()
    models = {'plain': plain}
    for place in PLACES:
        model = dict(NETWORK, type='AnchoredImageClassifier', anchor_at=place)
        models[place] = MODELS.build(model).eval()
        references = torch.randint(256, (num_references, 3, 32, 32))
        models[place].reference_bank.fill(references.to(torch.uint8))
    ratios = {place: [] for place in PLACES}
    for turn in range(rounds + 1):  # the first fills caches
        seconds = {}
        for name, model in models.items():
            start = time.process_time()
            model(images)
            seconds[name] = time.process_time() - start
        for place in PLACES if turn else ():
            ratios[place].append(seconds[place] / seconds['plain'])
    return ratios


def main() -> None:
    parser = make_parser()
    args = parser.parse_args()
    if args.rounds < 2:
        parser.error(f'--rounds has to be 2 or more, but is {args.rounds}')
    torch.manual_seed(0)
    ratios = measure(args.num_references, args.batch_size, args.rounds)
    table = Table('anchor_at', 'time, plain model = 1', 'quartiles')
    for place, found in ratios.items():
        low, middle, high = statistics.quantiles(found, n=4)
        table.add_row(place, f'{middle:.2f}', f'{low:.2f} to {high:.2f}')
    Console(emoji=False).print(table)


if __name__ == '__main__':
    main()
