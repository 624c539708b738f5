"""Compare the cost of K references by the place where features are anchored.

The script times a ResNet-18 for 32-pixel images on a CPU, by processor time:
the plain model, and an anchored model for each `anchor_at`, in a random order
in each round. The features of the references are computed before. After the
last stage the head has a hidden layer, without which references would only
shift the logits::

    OMP_NUM_THREADS=1 python tools/benchmarks/any_depth.py
"""

import argparse
import time
from collections.abc import Sequence

import torch
from mmpretrain.registry import MODELS
from rich.console import Console
from rich.table import Table
from time_and_memory import quartiles, shuffled_rounds
from torch import nn

import mmanchor  # noqa: F401, registers the models

PLACES = ('image', 'layer2', 'layer3', 'layer4', 'head')
NETWORK = dict(
    backbone=dict(type='ResNet_CIFAR', depth=18),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='LinearClsHead', num_classes=10, in_channels=512),
)


HEAD_THAT_READS_REFERENCES = dict(
    NETWORK['head'], type='StackedLinearClsHead', mid_channels=[512]
)


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--num-references', type=int, default=10, metavar='K')
    parser.add_argument('--batch-size', type=int, default=16)
    parser.add_argument('--rounds', type=int, default=9)
    return parser


def build_models(
    num_references: int, places: Sequence[str] = PLACES
) -> dict[str, nn.Module]:
    """Return the plain model and the anchored one of each place, by name."""
    models = {'plain': MODELS.build(dict(NETWORK, type='ImageClassifier'))}
    for place in places:
        config = dict(NETWORK, type='AnchoredImageClassifier', anchor_at=place)
        if place in ('layer4', 'head'):
            config['head'] = HEAD_THAT_READS_REFERENCES
        models[place] = MODELS.build(config)
        references = torch.randint(256, (num_references, 3, 32, 32))
        models[place].reference_bank.fill(references.to(torch.uint8))
    return {name: model.eval() for name, model in models.items()}


@torch.no_grad()
def measure(num_references: int, batch_size: int, rounds: int) -> dict:
    """Return each place's ratios to the plain model's time, one a round."""
    images = torch.randn(batch_size, 3, 32, 32)
    models = build_models(num_references)
    seconds = {name: [] for name in models}
    for index, name in shuffled_rounds(models, rounds + 1):
        start = time.process_time()
        models[name](images)
        if index:  # The first round fills the caches.
            seconds[name].append(time.process_time() - start)
    return {
        place: [
            ours / theirs
            for ours, theirs in zip(seconds[place], seconds['plain'])
        ]
        for place in PLACES
    }


def main() -> None:
    parser = make_parser()
    args = parser.parse_args()
    if args.rounds < 2:
        parser.error(f'--rounds has to be 2 or more, but is {args.rounds}')
    torch.manual_seed(0)
    ratios = measure(args.num_references, args.batch_size, args.rounds)
    table = Table('anchor_at', 'time, plain model = 1', 'quartiles')
    for place, of_place in ratios.items():
        ratio = quartiles(of_place)
        table.add_row(
            place,
            f'{ratio["median"]:.2f}',
            f'{ratio["low"]:.2f} to {ratio["high"]:.2f}',
        )
    Console(emoji=False).print(table)


if __name__ == '__main__':
    main()
