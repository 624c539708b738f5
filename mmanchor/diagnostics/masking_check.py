"""Measures what a trained model answers if its reference is blanked.

In training, a masked batch goes through BatchNorm with its own statistics, and
its images are augmented. A network may recognise masked batches by such side
effects instead of by the reference. At test these side effects are gone, so
such a network answers as if nothing were masked.
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

RUNNING, BATCH, UPDATED = 'running', 'of the batch', 'updated'
TEST, TRAINING = 'test', 'training'
BATCHES_TO_RECOMPUTE = 100  # running statistics are means over these


@dataclass
class MaskedAnswers:
    """Accuracy and entropy with one choice of BatchNorm's statistics.

    Attributes:
        images (str): ``'training'`` for training images in the training
            pipeline, or ``'test'``.
        statistics (str): ``'running'`` for those of the checkpoint, as at
            test; ``'of the batch'`` for those of each batch, as in training;
            ``'updated'`` for running statistics that include masked batches,
            as with ``masked_norm_stats='update'``.
        top1 (float): Accuracy with references, in %.
        masked_top1 (float): The same with blanked references.
        entropy (float): Normalised entropy with references; 1 means "don't
            know".
        masked_entropy (float): The same with blanked references.
    """

    images: str
    statistics: str
    top1: float
    masked_top1: float
    entropy: float
    masked_entropy: float


class TrainAndTestImages:
    """Random batches of a config's training set and test set.

    Each set uses its own pipeline, and has at most ``num_images`` images. A
    set smaller than a batch makes one batch; a smaller last one is dropped.
    The seed is that of the choice, order and augmentation of images.

    Raises:
        ValueError: ``batch_size`` is below 2, the config lacks a set, or a
            set has fewer than two images.
    """

    def __init__(
        self, cfg: Config, num_images: int, batch_size: int, seed: int
    ):
        if batch_size < 2:
            raise ValueError(
                'Expected `batch_size` to be at least 2, so that each image '
                f'has another as its reference, but got {batch_size}. Raise '
                '`--batch-size`.'
            )
        loaders = {TRAINING: 'train_dataloader', TEST: 'test_dataloader'}
        for name in loaders.values():
            if cfg.get(name) is None:
                raise ValueError(
                    f'Expected a `{name}` in the config, which provides '
                    f'images, but got none. Add `{name}`.'
                )
        self.num_images = num_images
        self.batch_size, self.seed = batch_size, seed
        with scope_of(cfg):
            self.sets = {
                of: DATASETS.build(cfg[name].dataset)
                for of, name in loaders.items()
            }

    def batches(
        self, of: str, num_images: int | None = None
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Yield images (B, C, H, W) as packed, and labels (B,)."""
        dataset = self.sets[of]
        order = np.random.default_rng(self.seed).permutation(len(dataset))[
            : num_images or self.num_images
        ]
        size = min(self.batch_size, len(order))
        if size < 2:
            raise ValueError(
                f'Expected at least 2 {of} images, of which one is the '
                f"other's reference, but got {size}. Raise `--images`, or "
                'change the data set.'
            )
        for i in range(0, len(order) - size + 1, size):
            seed_generators(self.seed, i)
            samples = [dataset[int(j)] for j in order[i : i + size]]
            yield (
                torch.stack([one['inputs'] for one in samples]),
                torch.cat([one['data_samples'].gt_label for one in samples]),
            )


def measure_masked_answers(
    model: AnchoredImageClassifier, images: TrainAndTestImages
) -> list[MaskedAnswers]:
    """Measure a model's answers with references and with blanked ones.

    As in training, references are other images of the batch. Images are not
    mixed by Mixup or CutMix. The model's running statistics are changed.

    Returns:
        List[MaskedAnswers]: Training images with statistics of the batch, as
        in training; test images with statistics of the batch and with running
        ones; and, if the model masks whole batches, test images with
        ``'updated'`` statistics. Models without BatchNorm have ``'running'``
        only.
    """
    model = revert_sync_batchnorm(model).eval()
    layers = [
        one
        for one in model.modules()
        if isinstance(one, _BatchNorm) and one.running_mean is not None
    ]
    measure = partial(_measure_answers, model, images)
    if not layers:
        return [measure(of, RUNNING) for of in (TRAINING, TEST)]
    with _batch_statistics(layers, momentum=0.0):
        answers = [measure(of, BATCH) for of in (TRAINING, TEST)]
    answers.append(measure(TEST, RUNNING))
    if model.data_preprocessor.mask_by == 'batch':
        _recompute_running_statistics(model, layers, images)
        answers.append(measure(TEST, UPDATED))
    return answers


@contextmanager
def _batch_statistics(layers, momentum: float | None):
    momenta = [layer.momentum for layer in layers]
    for layer in layers:
        layer.momentum = momentum
        layer.train()
    yield
    for layer, momentum in zip(layers, momenta):
        layer.momentum = momentum
        layer.eval()


@torch.no_grad()
def _recompute_running_statistics(model, layers, images) -> None:
    """Recompute running statistics over batches, some of them masked."""
    for layer in layers:
        layer.reset_running_stats()
    with _batch_statistics(layers, momentum=None):
        batches = images.batches(
            TRAINING, BATCHES_TO_RECOMPUTE * images.batch_size
        )
        for step, (batch, _) in enumerate(batches):
            mask = _mask_of_step(model, len(batch), images.seed, step)
            model(_anchor_batch(model, batch, images.seed, step, mask))


@torch.no_grad()
def _measure_answers(model, images, of, statistics) -> MaskedAnswers:
    # One row with references and one with blanked ones; columns are the sums
    # of images, right answers and entropies.
    sums = torch.zeros(2, 3, dtype=torch.float64)
    # whether masked and other images share a batch in training
    preprocessor = model.data_preprocessor
    shares_batches = (
        preprocessor.mask_by == 'sample' and 0 < preprocessor.mask_prob < 1
    )
    for step, (batch, labels) in enumerate(images.batches(of)):
        size = len(batch)
        masks = [np.zeros(size, bool), np.ones(size, bool)]
        if statistics == BATCH and shares_batches:
            masks = [_mask_of_step(model, size, images.seed, step)]
        for mask in masks:
            anchored = _anchor_batch(model, batch, images.seed, step, mask)
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


def _mask_of_step(model, size, seed, step):
    preprocessor = model.data_preprocessor
    return draw_mask(
        size,
        preprocessor.mask_prob,
        preprocessor.mask_by,
        draw_generator(seed, 0, step, 'masks'),
    ).copy()


def _anchor_batch(model, batch, seed, step, mask):
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


def masking_table(answers: list[MaskedAnswers], count: int) -> Table:
    """Make a table of answers for the terminal and for Markdown."""
    header = (
        'images, statistics, accuracy (%), entropy, blanked: accuracy (%), '
        'blanked: entropy'
    )
    return Table(
        'Answers with references, and with references blanked',
        f'At most {count} images of each set; training images are augmented. '
        'A normalised entropy of 1 means "don\'t know". The statistics of '
        'BatchNorm are those of the batch, as in training; running ones, as '
        'at test; or updated ones, which include masked batches.',
        header.split(', '),
        [
            [
                one.images,
                one.statistics,
                number(one.top1),
                number(one.entropy, 3),
                number(one.masked_top1),
                number(one.masked_entropy, 3),
            ]
            for one in answers
        ],
        num_names=2,
    )


def make_parser() -> argparse.ArgumentParser:
    """Make the parser of ``tools/check_masking.py``."""
    parser = argparse.ArgumentParser(
        description='Compare what a model answers at test and in training if '
        'its reference is blanked.'
    )
    parser.add_argument(
        'config', type=user_path, help='config of an anchored model'
    )
    parser.add_argument('checkpoint', type=user_path, help='its checkpoint')
    parser.add_argument(
        '--images',
        type=int,
        default=5000,
        help='maximum number of images of each set (default: %(default)s)',
    )
    parser.add_argument(
        '--batch-size', type=int, default=128, help='default: %(default)s'
    )
    parser.add_argument(
        '--seed',
        type=int,
        default=0,
        help='seed of images and references (default: %(default)s)',
    )
    add_device_flag(parser)
    parser.add_argument(
        '--out', type=user_path, metavar='FILE.json', help='write the figures'
    )
    add_trust_flag(parser)
    add_cfg_options(parser)
    return parser
