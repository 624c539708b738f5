"""How much a network uses its references, along training.

Trains ResNet-18 of width 16 on the digits and prints by epoch, as mean and
standard deviation over seeds: the distance of the stem's halves,
||Wr - Wd|| / ||Wd||, and the spread of the logits over ten references,
relative to the logits' standard deviation over images and classes::

    OMP_NUM_THREADS=1 python tools/benchmarks/reference_use.py --seeds 0 1 2
"""

import argparse
import statistics
import tempfile
from pathlib import Path

import torch
from mmengine import Config
from mmengine.evaluator import BaseMetric
from mmengine.runner import Runner
from mmpretrain.registry import METRICS
from rich.console import Console
from rich.table import Table

import mmanchor

MODELS = {
    'anchored': {'data_preprocessor.mask_prob': 0.0},
    'masked, uniform': {},
    'masked, labels': {'model.head.masked_target': 'label'},
}
EPOCHS = (1, 5, 10, 20, 30, 40)


@METRICS.register_module()
class RelativeSpread(BaseMetric):
    """Spread of the logits over references, over their own deviation."""

    default_prefix = 'references'

    def process(self, data_batch, data_samples):
        self.results += [
            (one['pred_logits'], one['pred_std']) for one in data_samples
        ]

    def compute_metrics(self, results):
        logits, spread = map(torch.stack, zip(*results))
        return dict(relative_spread=(spread.mean() / logits.std()).item())


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2])
    parser.add_argument(
        '--epochs', type=int, default=EPOCHS[-1], help='of each training'
    )
    return parser


def measure(options: dict, seed: int, epochs: int) -> dict:
    """Train once.

    Returns:
        dict: By epoch, ``(stem distance, relative spread)``; the spread of
        epoch 0, before training, is None.
    """
    path = 'digits/resnet18-w16_anchored-masked_digits.py'
    cfg = Config.fromfile(Path(mmanchor.CONFIG_DIR, path))
    with tempfile.TemporaryDirectory() as work_dir:
        cfg.merge_from_dict(
            {
                **options,
                'work_dir': work_dir,
                'randomness': dict(seed=seed),
                'train_cfg.max_epochs': epochs,
                'train_cfg.val_interval': 1,
                'val_evaluator': [dict(type='RelativeSpread')],
                'default_hooks.checkpoint.interval': -1,
                'log_level': 'ERROR',
                'experiment_name': work_dir.replace('/', '_'),
            }
        )
        cfg.custom_hooks.append(dict(type='StemDistanceHook'))
        runner = Runner.from_cfg(cfg)
        runner.train()
        scalars = runner.message_hub.log_scalars
        distances = scalars['train/stem_distance'].data[0]
        spreads = scalars['val/references/relative_spread'].data[0]
    return dict(enumerate(zip(distances, [None, *spreads])))


def main() -> None:
    args = make_parser().parse_args()
    table = Table(
        title='Use of references, digits, mean ± standard deviation over '
        f'{len(args.seeds)} seeds'
    )
    for column in ('model', 'epoch', 'distance of halves', 'spread / std'):
        table.add_column(column)
    for name, options in MODELS.items():
        runs = [measure(options, seed, args.epochs) for seed in args.seeds]
        for epoch in (0, *(one for one in EPOCHS if one <= args.epochs)):
            distances, spreads = zip(*(run[epoch] for run in runs))
            table.add_row(name, str(epoch), over(distances), over(spreads))
    Console(width=100).print(table)


def over(values) -> str:
    """Mean ± standard deviation over seeds, where there is something."""
    if None in values:
        return ''
    spread = f' ± {statistics.stdev(values):.3f}' if len(values) > 1 else ''
    return f'{statistics.fmean(values):.3f}{spread}'


if __name__ == '__main__':
    main()
