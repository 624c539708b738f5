"""Draws training batches as the network receives them: ``browse.py``."""

import argparse
import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import wrap

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from mmengine.config import Config
from mmengine.runner import Runner, set_random_seed
from mmpretrain.models import ClsDataPreprocessor
from mmpretrain.registry import MODELS

from ..functional import ReferredImages
from ..functional.masked_target import UniformTarget
from ..models.data_preprocessor import ReferenceDrawingDataPreprocessor
from ..models.plain_config import drop_pretrained
from ..utils.config import evaluation_pipeline, scope_of, type_name
from ..utils.files import user_path, whole_files
from .cli import add_cfg_options, check_positive

CELL = 1.0  # size of an image in inches
MAX_TARGETS = 2  # number of classes to name in a mixed target
LETTERS_IN_AN_INCH = 14  # of the text above the pictures
# Normalised images have a mean near 0 and a standard deviation near 1; those
# that are only scaled to [0, 1] are plausible as well.
PLAUSIBLE_MEAN, PLAUSIBLE_STD = 1.5, (0.1, 3.0)


@dataclass
class BatchImages:
    """The first images of a training batch, as pixels to draw.

    Attributes:
        images (np.ndarray): Images after augmentation, Mixup and CutMix, of
            shape (N, H, W, C), with values in [0, 1].
        references (np.ndarray, optional): Their references, blanked if they
            are masked, in the same format. None for a model that is not
            anchored.
        residuals (np.ndarray, optional): Their residuals in the same format,
            where 0 becomes grey.
        targets (List[str]): The target of each image.
        masked (List[bool]): Whether each image's reference is masked.
        statistics (np.ndarray): Mean, standard deviation, minimum and maximum
            of the batch as the network receives it, of shape (4, C).
    """

    images: np.ndarray
    references: np.ndarray | None
    residuals: np.ndarray | None
    targets: list[str]
    masked: list[bool]
    statistics: np.ndarray


def make_parser() -> argparse.ArgumentParser:
    """Make the parser of ``tools/browse.py``."""
    parser = argparse.ArgumentParser(
        description='Draw training batches as the network receives them: '
        'images after the whole pipeline, with Mixup and CutMix, references, '
        'residuals, masking and targets.'
    )
    parser.add_argument('config', type=user_path, help='config file')
    parser.add_argument(
        '--out',
        type=user_path,
        default='batches.png',
        metavar='PNG',
        help='default: %(default)s',
    )
    parser.add_argument(
        '--batches', type=int, default=4, help='default: %(default)s'
    )
    parser.add_argument(
        '--images',
        type=int,
        default=8,
        help='number of images of each batch (default: %(default)s)',
    )
    parser.add_argument(
        '--seed', type=int, default=0, help='default: %(default)s'
    )
    add_cfg_options(parser)
    return parser


def browse(cfg: Config, batches: int = 4, images: int = 8, seed: int = 0):
    """Draw the first training batches of a config.

    Raises:
        ValueError: An argument is below 1, the config has no training set, or
            the training set has no batch.
    """
    check_positive({'--batches': batches, '--images': images})
    if not cfg.get('train_dataloader') or not cfg.get('model'):
        raise ValueError(
            'Expected a config with `model` and `train_dataloader`, but it '
            'lacks one of them. Name the config of a training.'
        )
    cfg = copy.deepcopy(cfg)
    cfg.train_dataloader.update(num_workers=0, persistent_workers=False)
    cfg.train_dataloader.pop('prefetch_factor', None)
    set_random_seed(seed)
    with scope_of(cfg):
        drop_pretrained(cfg.model)
        if cfg.get('data_preprocessor') is not None:
            cfg.model.setdefault('data_preprocessor', cfg.data_preprocessor)
        model = MODELS.build(cfg.model)
        loader = Runner.build_dataloader(cfg.train_dataloader, seed=seed)
    classes = loader.dataset.metainfo.get('classes')
    reverse = reads_bgr(cfg) and not model.data_preprocessor.to_rgb
    uniform = masks_uniformly(model)
    pictures = []
    for _, batch in zip(range(batches), loader):
        pictures.append(
            batch_images(
                model.data_preprocessor,
                batch,
                images,
                classes,
                reverse,
                uniform,
            )
        )
    if not pictures:
        raise ValueError(
            'Expected a training set with a batch of images, but got none. '
            'Change `train_dataloader`.'
        )
    return batch_figure(pictures)


def masks_uniformly(model) -> bool:
    """Return whether the target of masked images is uniform."""
    loss = getattr(model.head, 'loss_module', None)
    return isinstance(getattr(loss, 'masked_target', None), UniformTarget)


def reads_bgr(cfg: Config) -> bool:
    """Return whether a config reads images from files, which gives BGR."""
    try:
        return type_name(evaluation_pipeline(cfg)[0]).startswith('LoadImage')
    except (ValueError, IndexError):
        return False


@torch.no_grad()
def batch_images(
    preprocessor: ClsDataPreprocessor,
    batch: dict,
    count: int = 8,
    classes: Sequence[str] | None = None,
    reverse: bool = False,
    uniform: bool = True,
) -> BatchImages:
    """Preprocess a batch as in training, and return its first images.

    Args:
        preprocessor (ClsDataPreprocessor): The model's preprocessor, with its
            batch augmentations. It draws references as for any training
            batch.
        classes (Sequence[str], optional): Names of the classes. Defaults to
            None: their numbers.
        reverse (bool): Whether the network reads BGR. Defaults to False.
        uniform (bool): Whether the target of masked images is uniform.
            Defaults to True.
    """
    data = ClsDataPreprocessor.forward(preprocessor, batch, training=True)
    images = data['inputs']
    statistics = _statistics(images)
    targets = [_target(one, classes) for one in data['data_samples'][:count]]
    masked = [False] * len(targets)
    references = residuals = None
    if isinstance(preprocessor, ReferenceDrawingDataPreprocessor):
        samples = data['data_samples']
        combined = preprocessor._draw_and_combine(images, samples)
        masked = [bool(one.reference_masked) for one in samples[:count]]
        channels = images.size(1)
        if isinstance(combined, ReferredImages):  # It anchors features.
            references = combined.references
            if references.dim() == 1:  # They are indices of images.
                references = images[references]
            residuals = images - references
            if combined.augmented is not None:
                references = combined.augmented
            if combined.mask is not None:
                rows = combined.mask[:, None, None, None]
                references = references.masked_fill(rows, 0)
        elif combined.size(1) == 2 * channels:
            references = combined[:count, :channels]
            residuals = combined[:count, channels:]
        else:
            images = combined
        if uniform and references is not None:
            targets = [
                'all alike' if is_masked else target
                for target, is_masked in zip(targets, masked)
            ]

    def pixels(values, is_difference=False):
        if values is None:
            return None
        values = values[:count].float().cpu()
        if getattr(preprocessor, '_enable_normalize', False):
            values = values * preprocessor.std.cpu()
            if not is_difference:
                values = values + preprocessor.mean.cpu()
        values = values / 255
        if is_difference:
            values = (values + 1) / 2
        values = values.clamp(0, 1).permute(0, 2, 3, 1).numpy()
        return values[..., ::-1] if reverse else values

    return BatchImages(
        pixels(images),
        pixels(references),
        pixels(residuals, True),
        targets,
        masked,
        statistics,
    )


def _statistics(images: torch.Tensor) -> np.ndarray:
    """Mean, standard deviation, minimum and maximum of each channel."""
    channels = images.double().transpose(0, 1).flatten(1)
    parts = (
        channels.mean(1),
        channels.std(1, correction=0),
        channels.amin(1),
        channels.amax(1),
    )
    return torch.stack(parts).cpu().numpy()


def describe_input(statistics: Sequence[np.ndarray]) -> tuple[str, bool]:
    """Describe what the network receives, by channel.

    Pictures don't show a wrong normalisation, because they are drawn after it
    is undone. These numbers show it.

    Args:
        statistics (Sequence[np.ndarray]): Mean, standard deviation, minimum
            and maximum of each batch; at least one.

    Shape:
        - statistics: each (4, C)

    Returns:
        tuple[str, bool]: Lines of text, and whether the numbers are plausible
        for normalised images.

    Example:
        >>> print(describe_input([np.array([[0.1], [1], [-2], [2.5]])])[0])
        network input, by channel: mean 0.10; standard deviation 1.00; range \
−2.0 to 2.5
    """
    mean, std, low, high = (np.array(part) for part in zip(*statistics))
    std = np.sqrt((std**2).mean(0) + mean.var(0))
    mean, low, high = mean.mean(0), low.min(0), high.max(0)

    def numbers(values, digits=2):
        return ', '.join(f'{value:.{digits}f}' for value in values)

    ranges = [f'{a:.1f} to {b:.1f}' for a, b in zip(low, high)]
    text = (
        f'network input, by channel: mean {numbers(mean)}; standard deviation '
        f'{numbers(std)}; range {", ".join(ranges)}'
    ).replace('-', '−')
    smallest, largest = PLAUSIBLE_STD
    is_plausible = (
        np.abs(mean).max() <= PLAUSIBLE_MEAN
        and smallest <= std.min()
        and std.max() <= largest
    )
    if not is_plausible:
        text += (
            '. Implausible: normalised images have a mean near 0 and a '
            'standard deviation near 1. Check `mean` and `std` of '
            '`data_preprocessor`.'
        )
    return text, bool(is_plausible)


def _target(sample, classes: Sequence[str] | None) -> str:
    def name(i):
        return str(i) if classes is None else str(classes[i])

    if 'gt_score' in sample and (sample.gt_score > 0).sum() > 1:
        scores = sample.gt_score
        largest = scores.argsort(descending=True)[:MAX_TARGETS].tolist()
        return '\n'.join(
            f'{name(i)}: {100 * float(scores[i]):.0f} %' for i in largest
        )
    return name(int(sample.gt_label[0]))


def batch_figure(batches: Sequence[BatchImages]) -> Figure:
    """Draw images, references and residuals of batches in rows.

    The title has the numbers of :func:`describe_input`, in red where they are
    implausible.
    """
    columns = max(len(one.targets) for one in batches)
    heights = [3 if one.references is not None else 1 for one in batches]
    width = CELL * columns + 1
    text, is_plausible = describe_input([one.statistics for one in batches])
    lines = wrap(text, int(width * LETTERS_IN_AN_INCH))
    height = sum(heights) * CELL + 0.6 * len(batches) + 0.16 * len(lines)
    figure = Figure(figsize=(width, height), dpi=110, layout='constrained')
    FigureCanvasAgg(figure)
    figure.suptitle(
        '\n'.join(lines),
        fontsize=8,
        x=0.01,
        ha='left',
        color='black' if is_plausible else '#c00000',
    )
    parts = figure.subfigures(len(batches), 1, height_ratios=heights)
    for i, (part, one) in enumerate(zip(np.atleast_1d(parts), batches)):
        share = sum(one.masked)
        part.suptitle(
            f'batch {i + 1}'
            + f': {share} of {len(one.masked)} masked' * bool(share),
            fontsize=9,
            x=0.01,
            ha='left',
        )
        rows = [('image', one.images)]
        if one.references is not None:
            rows += [
                ('reference', one.references),
                ('residual', one.residuals),
            ]
        grid = part.subplots(len(rows), columns, squeeze=False)
        for axes in grid.flat:
            axes.set(xticks=[], yticks=[])
            axes.set_frame_on(False)
        for axes, (name, images) in zip(grid, rows):
            axes[0].set_ylabel(name, fontsize=8)
            for cell, image in zip(axes, images):
                cell.imshow(image.squeeze(), cmap='gray', vmin=0, vmax=1)
        for cell, target, masked in zip(grid[0], one.targets, one.masked):
            text = f'{target}\n(masked)' if masked else target
            cell.set_title(text.replace('$', r'\$'), fontsize=7)
    return figure


def number_of_bins(count: int) -> int:
    """How many bins a histogram of a number of images has, 8 to 40.

    Twice the cube root of the number (Rice's rule): with more, the bins of
    few images are mostly noise.

    Example:
        >>> number_of_bins(48), number_of_bins(500), number_of_bins(50_000)
        (8, 16, 40)
    """
    return min(40, max(8, round(2 * count ** (1 / 3))))


def spread_and_error(spread: np.ndarray, wrong: np.ndarray) -> Figure:
    """Draw the error by quantile of the spread, and histograms of the spread.

    The histograms show shares of the right and of the wrong predictions,
    since a good model has few wrong ones to compare.

    Args:
        spread (np.ndarray): The spread over references of each image.
        wrong (np.ndarray): Whether the prediction for each image is wrong.
    """
    figure = Figure(figsize=(8, 3), dpi=110, layout='constrained')
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    _draw_error_by_quantile(left, spread, wrong)
    _draw_histograms(right, spread, wrong)
    return figure


def _draw_error_by_quantile(axes, spread, wrong) -> None:
    """Draw a bar for each group of images, from small to large spreads."""
    groups = np.array_split(
        wrong[np.argsort(spread, kind='stable')],
        min(10, max(2, len(spread) // 12)),
    )
    errors = [100 * group.mean() for group in groups if len(group)]
    edges = np.linspace(0, 100, len(errors) + 1)
    axes.stairs(errors, edges, fill=True, color='#d55e00', alpha=0.6)
    axes.axhline(
        100 * wrong.mean(), color='0.3', linewidth=1, label='all images'
    )
    axes.set(
        xlim=(0, 100),
        ylim=(0, 1.06 * max(errors) or 1),
        xlabel='images, from the smallest to the largest spread (%)',
        ylabel=f'error of {len(groups[0]):,} images (%)',
    )
    axes.legend()


def _draw_histograms(axes, spread, wrong) -> None:
    # images beyond these percentiles are counted in the outermost bins: one
    # outlier would push all others into the first
    low = np.quantile(spread, 0.005, method='higher')
    high = np.quantile(spread, 0.995, method='lower')
    edges = np.histogram_bin_edges(
        spread.clip(low, max(low, high)), number_of_bins(len(spread))
    )
    for name, rows, colour in (
        ('right', ~wrong, '#0072b2'),
        ('wrong', wrong, '#d55e00'),
    ):
        count = int(rows.sum())
        axes.hist(
            spread[rows].clip(edges[0], edges[-1]),
            edges,
            weights=np.full(count, 100 / max(count, 1)),
            color=colour,
            alpha=0.6,
            label=f'{name}: {count:,}',
        )
    axes.set(
        xlabel='spread of logits over references\n(outer bins: and beyond)',
        ylabel='share of right, of wrong answers (%)',
    )
    axes.legend()


def save_figure(figure: Figure, path: str | Path) -> None:
    """Save a figure as PNG, without ever leaving a half-written file.

    Raises:
        ValueError: The folder can't be written to.
    """
    path = Path(path)
    with whole_files(path.parent) as partial:
        figure.savefig(
            partial / path.name, format='png', metadata={'Software': None}
        )
