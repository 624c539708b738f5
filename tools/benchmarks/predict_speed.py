"""How fast `mmanchor predict` is, compared with the model alone.

Predicts image files, and the same images as tensors in memory, in turns within
every round. A ratio of 1 means that reading the files costs no time::

    OMP_NUM_THREADS=1 python tools/benchmarks/predict_speed.py \\
        CONFIG CHECKPOINT IMAGES --rounds 9
"""

import argparse

import torch
from rich.console import Console
from time_and_memory import quartiles, seconds, shuffled_rounds

from mmanchor.diagnostics.image_predictions import ImagePredictor, find_images
from mmanchor.suite.candidates import Candidate
from mmanchor.suite.measure import predict_batch
from mmanchor.utils.config import read_config


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('config')
    parser.add_argument('checkpoint')
    parser.add_argument('images', nargs='+', help='files or folders')
    parser.add_argument('--limit', type=int, default=1000, help='of images')
    parser.add_argument('--batch-size', type=int, default=64)
    parser.add_argument('--workers', type=int, default=2)
    parser.add_argument('--rounds', type=int, default=9)
    return parser


def measure(args: argparse.Namespace) -> tuple[int, dict[str, float]]:
    """Return the number of images, and the ratio's median and quartiles."""
    predictor = ImagePredictor(
        Candidate(
            'model', read_config(args.config), args.checkpoint, args.config
        ),
        'cpu',
        args.batch_size,
        args.workers,
    )
    paths = find_images(args.images)[: args.limit]
    tensors = torch.stack([predictor.read(path) for path in paths])
    calls = {
        'files': lambda: predictor(paths),
        'model': lambda: [
            predict_batch(predictor.model, batch)
            for batch in tensors.split(args.batch_size)
        ],
    }
    times: dict[str, list[float]] = {name: [] for name in calls}
    for index, name in shuffled_rounds(calls, args.rounds + 1):
        duration = seconds(calls[name], torch.device('cpu'))
        if index:  # the first round fills caches
            times[name].append(duration)
    return len(paths), quartiles(
        model / files for model, files in zip(times['model'], times['files'])
    )


def main() -> None:
    args = make_parser().parse_args()
    count, ratio = measure(args)
    Console().print(
        f'{count} images: {ratio["median"]:.3f} of the speed of the model '
        f'alone ({ratio["low"]:.3f} to {ratio["high"]:.3f}, {args.rounds} '
        'rounds)'
    )


if __name__ == '__main__':
    main()
