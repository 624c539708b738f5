"""What a trained model answers where its reference is blanked.

In training, a wholly masked batch goes through BatchNorm with the statistics
of its own, and images are augmented. A network can tell masked batches from
others by such traces, say "don't know", and never learn to look at the
reference: at test it then answers as if nothing were masked.
"""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from mmengine.config import Config
from mmengine.model import revert_sync_batchnorm
from mmpretrain.registry import DATASETS
from torch.nn.modules.batchnorm import _BatchNorm

from ..checkpoints.safe_loading import add_trust_flag
from ..engine.cli import add_cfg_options, add_device_flag
from ..functional import (
    ReferredImages,
    anchor,
    blank_references,
    draw_generator,
    draw_mask,
    draw_partners,
    normalized_entropy,
)
from ..models import AnchoredImageClassifier
from ..suite.report.table import Table, number
from ..utils.config import scope_of
from ..utils.files import user_path
from ..utils.seeding import seed_generators

RUNNING, OF_BATCH, UPDATED = 'running', 'of the batch', 'updated'
TEST, TRAINING = 'test', 'training'
RECOMPUTED_FROM = 100  # batches, where running statistics are made anew


@dataclass
class MaskedAnswers:
    """Answers to some images, with BatchNorm's statistics taken in one way.

    Attributes:
        images (str): ``'training'``, through the training pipeline, or
            ``'test'``.
        statistics (str): ``'running'``: those of the checkpoint, as at test;
            ``'of the batch'``: wholly masked batches have their own, as in
            training; ``'updated'``: running ones that masked batches had
            moved, as with ``masked_norm_stats='update'``.
        top1 (float): Accuracy with references, in %.
        masked_top1 (float): With references blanked.
        entropy (float): Normalised entropy with references; 1: "don't know".
        masked_entropy (float): With references blanked.
    """

    images: str
    statistics: str
    top1: float
    masked_top1: float
    entropy: float
    masked_entropy: float


class ImagesOfTwoSets:
    """Images of a config's test set and training set, in random batches.

    Args:
        cfg (Config): Of the model; each set goes through its own pipeline.
        num_images (int): At most, of a set.
        batch_size (int): At least 2; all images, if there are fewer. A last
            batch that is smaller is left out.
        seed (int): Which images, in which order, and how augmented.

    Raises:
        ValueError: ``batch_size`` is below 2, the config lacks a set, or one
            has fewer than two images.
    """

    def __init__(
        self, cfg: Config, num_images: int, batch_size: int, seed: int
    ):
        if batch_size < 2:
            raise ValueError(
                'Expected `batch_size` to be at least 2, so that '
                'an image has another as its reference, but got '
                f'{batch_size}.'
            )
        for name in ('train_dataloader', 'test_dataloader'):
            if cfg.get(name) is None:
                raise ValueError(
                    f'Expected a `{name}` in the config to have '
                    'images from, but there is none. Add it.'
                )
        self.num_images = num_images
        self.batch_size, self.seed = batch_size, seed
        with scope_of(cfg):
            self.sets = {
                name: DATASETS.build(loader.dataset)
                for name, loader in (
                    (TRAINING, cfg.train_dataloader),
                    (TEST, cfg.test_dataloader),
                )
            }

    def batches(
        self, of: str, num_images: int | None = None
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Images (B, C, H, W) as packed, and labels (B,)."""
        dataset = self.sets[of]
        order = np.random.default_rng(self.seed).permutation(len(dataset))[
            : num_images or self.num_images
        ]
        size = min(self.batch_size, len(order))
        if size < 2:
            raise ValueError(
                f'Expected at least 2 {of} images, one to be the '
                f"other's reference, but got {size}."
            )
        for i in range(0, len(order) - size + 1, size):
            seed_generators(self.seed, i)
            samples = [dataset[int(j)] for j in order[i : i + size]]
            yield (
                torch.stack([one['inputs'] for one in samples]),
                torch.cat([one['data_samples'].gt_label for one in samples]),
            )


def masked_answers(
    model: AnchoredImageClassifier, images: ImagesOfTwoSets
) -> list[MaskedAnswers]:
    """What a model answers with references and without.

    As in training, references are other images of the batch. Images are not
    mixed (Mixup, CutMix).

    Args:
        model (AnchoredImageClassifier): Trained. Its running statistics are
            others afterwards.
        images (ImagesOfTwoSets): What to ask about.

    Returns:
        List[MaskedAnswers]: As in training; to test images with the same
        statistics and with running ones; where batches are masked as a whole,
        with ``'updated'`` ones. Models without BatchNorm have no statistics
        but ``'running'``.
    """
    model = revert_sync_batchnorm(model).eval()
    layers = [
        one
        for one in model.modules()
        if isinstance(one, _BatchNorm) and one.running_mean is not None
    ]
    ask = partial(_answers, model, images)
    if not layers:
        return [ask(of, RUNNING) for of in (TRAINING, TEST)]
    with _batch_statistics(layers, momentum=0.0):
        found = [ask(of, OF_BATCH) for of in (TRAINING, TEST)]
    found.append(ask(TEST, RUNNING))
    if model.data_preprocessor.mask_by == 'batch':
        _recompute(model, layers, images)
        found.append(ask(TEST, UPDATED))
    return found


@contextmanager
def _batch_statistics(layers, momentum: float | None):
    kept = [layer.momentum for layer in layers]
    for layer in layers:
        layer.momentum = momentum
        layer.train()
    yield
    for layer, momentum in zip(layers, kept):
        layer.momentum = momentum
        layer.eval()


@torch.no_grad()
def _recompute(model, layers, images) -> None:
    """Running statistics as means over batches, some of them masked."""
    for layer in layers:
        layer.reset_running_stats()
    with _batch_statistics(layers, momentum=None):
        batches = images.batches(TRAINING, RECOMPUTED_FROM * images.batch_size)
        for step, (batch, _) in enumerate(batches):
            mask = _drawn_mask(model, len(batch), images.seed, step)
            model(_anchored(model, batch, images.seed, step, mask))


@torch.no_grad()
def _answers(model, images, of, statistics) -> MaskedAnswers:
    # a row each with references and without: images, right ones, entropies
    sums = torch.zeros(2, 3, dtype=torch.float64)
    for step, (batch, labels) in enumerate(images.batches(of)):
        size = len(batch)
        masks = [np.zeros(size, bool), np.ones(size, bool)]
        if statistics == OF_BATCH and _mixes(model.data_preprocessor):
            masks = [_drawn_mask(model, size, images.seed, step)]
        for mask in masks:
            anchored = _anchored(model, batch, images.seed, step, mask)
            logits = model(anchored).double().cpu()
            values = torch.stack(
                [
                    torch.ones(size),
                    logits.argmax(1) == labels,
                    normalized_entropy(logits),
                ],
                1,
            ).double()
            sums.index_add_(0, torch.from_numpy(mask.astype(int)), values)
    shares = sums[:, 1:] / sums[:, :1]
    (top1, entropy), (masked_top1, masked_entropy) = shares.tolist()
    return MaskedAnswers(
        of, statistics, 100 * top1, 100 * masked_top1, entropy, masked_entropy
    )


def _mixes(preprocessor) -> bool:
    """Whether a batch of training has masked images and others."""
    return preprocessor.mask_by == 'sample' and 0 < preprocessor.mask_prob < 1


def _drawn_mask(model, size, seed, step):
    preprocessor = model.data_preprocessor
    return draw_mask(
        size,
        preprocessor.mask_prob,
        preprocessor.mask_by,
        draw_generator(seed, 0, step, 'masks'),
    ).copy()


def _anchored(model, batch, seed, step, mask):
    normalised = model.data_preprocessor(dict(inputs=batch))['inputs']
    partners = draw_partners(
        len(batch), draw_generator(seed, 0, step, 'references')
    )
    if model.place is not None:
        return ReferredImages(normalised, partners, torch.from_numpy(mask))
    anchored = anchor(normalised, normalised[partners])
    return blank_references(
        anchored, torch.from_numpy(mask).to(anchored.device)
    )


def masking_table(found: list[MaskedAnswers], count: int) -> Table:
    """For the terminal and for Markdown."""
    return Table(
        'Answers with references, and with references blanked',
        f'{count} images of a set at most, those of training augmented. '
        'Entropy: normalised, 1 is "don\'t know". BatchNorm\'s statistics: of '
        'the batch, as in training; running, as at test; updated, had masked '
        'batches moved them.',
        [
            'images',
            'statistics',
            'accuracy (%)',
            'entropy',
            'blanked: accuracy (%)',
            'blanked: entropy',
        ],
        [
            [
                one.images,
                one.statistics,
                number(one.top1),
                number(one.entropy, 3),
                number(one.masked_top1),
                number(one.masked_entropy, 3),
            ]
            for one in found
        ],
        num_names=2,
    )


def make_parser() -> argparse.ArgumentParser:
    """The flags of ``tools/check_masking.py``."""
    parser = argparse.ArgumentParser(
        description='Compare what a model answers where its reference is '
        'blanked with what it answered in training.'
    )
    parser.add_argument(
        'config', type=user_path, help='config of an anchored model'
    )
    parser.add_argument('checkpoint', type=user_path, help='its checkpoint')
    parser.add_argument(
        '--images',
        type=int,
        default=5000,
        help='of a set, at most (default: %(default)s)',
    )
    parser.add_argument(
        '--batch-size', type=int, default=128, help='default: %(default)s'
    )
    parser.add_argument(
        '--seed', type=int, default=0, help='of images and references'
    )
    add_device_flag(parser)
    parser.add_argument(
        '--out', type=user_path, metavar='FILE.json', help='write the figures'
    )
    add_trust_flag(parser)
    add_cfg_options(parser)
    return parser
