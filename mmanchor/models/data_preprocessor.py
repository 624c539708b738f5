"""Preprocessing of training batches: anchoring, and its control."""

import math
from collections.abc import Sequence
from numbers import Real

import torch
from mmengine.config import Config
from mmengine.dist import get_dist_info
from mmpretrain.models import ClsDataPreprocessor
from mmpretrain.registry import DATASETS, MODELS

from ..datasets import ReferenceSet
from ..functional import (
    ReferredImages,
    RowMask,
    anchor_batch,
    check_seed,
    draw_generator,
    draw_mask,
    draw_partners,
)
from ..functional.masking import MASK_BY, MASK_COIN
from ..utils.compiling import not_compiled
from ..utils.names import check_arguments, constructors, named_arguments
from ..utils.transfer import copy_to_device
from .row_masks import carry_mask


class ReferenceDrawingDataPreprocessor(ClsDataPreprocessor):
    """Draws a reference and a mask for each training image.

    The base of :class:`AnchoringDataPreprocessor`, whose arguments it has,
    and of :class:`SubtractiveMixDataPreprocessor`: with one seed both draw
    the same references and masks. Subclasses say what the network reads.
    """

    mean: torch.Tensor
    std: torch.Tensor
    iteration: torch.Tensor

    def __init__(
        self,
        mask_prob: float = 0.25,
        mask_by: str = 'batch',
        references: str | dict = 'batch',
        seed: int | None = None,
        mask_coin: str = 'shared',
        **kwargs,
    ):
        check_arguments(kwargs, type(self))
        super().__init__(**kwargs)
        self.mask_prob = _check_probability(mask_prob)
        if mask_by not in MASK_BY:
            raise ValueError(
                "Expected `mask_by` to be 'batch' or 'sample', "
                f'but got {mask_by!r}.'
            )
        self.mask_by = mask_by
        if mask_coin not in MASK_COIN:
            raise ValueError(
                "Expected `mask_coin` to be 'shared' or 'rank', "
                f'but got {mask_coin!r}.'
            )
        self.mask_coin = mask_coin
        if references == 'batch':
            self.reference_set = None
        else:
            self.reference_set = _build_reference_set(references)
        self.seed = None if seed is None else check_seed(seed)
        # Travels in the checkpoint; read once, then counted on the host so
        # that no step waits for the device.
        self.register_buffer('iteration', torch.zeros((), dtype=torch.int64))
        self._iteration: int | None = None
        self._last_image: torch.Tensor | None = None

    def forward(self, data: dict, training: bool = False) -> dict:
        """Preprocess a batch and, in training, combine it with references.

        Args:
            data (dict): ``inputs`` and ``data_samples`` as collated.
            training (bool): Whether to augment and draw references.

        Returns:
            dict: ``inputs`` and ``data_samples``.
        """
        self._check_images(data)
        data = super().forward(data, training)
        if training:
            data['inputs'] = self._draw_and_combine(
                data['inputs'], data['data_samples'] or []
            )
        return data

    def restart(self, iteration: int = 0) -> None:
        """Begin the sequence of draws again, or somewhere in it.

        Args:
            iteration (int): Training batches seen so far. Defaults to 0.
        """
        self.iteration.fill_(iteration)
        self._iteration = self._last_image = None

    def _check_images(self, data: dict) -> None:
        images = data['inputs']
        stacked = isinstance(images, torch.Tensor)
        # `int`: where operations are counted by tracing, sizes are tensors
        channels = {int(images.size(1))} if stacked else set(map(len, images))
        # a single mean, or a single channel, is spread as the host does
        if (
            self._enable_normalize
            and len(self.mean) > 1
            and not channels <= {1, len(self.mean)}
        ):
            raise ValueError(
                f'Expected images of {len(self.mean)} channels, as many as '
                f'`mean` has, but got {max(channels)}. Anchored inputs go to '
                'the model itself: `model(inputs)`.'
            )
        # bytes can't hold NaN: the usual pipelines pay nothing
        parts = [
            part
            for part in ([images] if stacked else images)
            if part.is_floating_point()
        ]
        if not parts or _sum_is_finite(parts):
            return
        for index, image in enumerate(images):
            if image.is_floating_point() and not image.isfinite().all():
                samples = data.get('data_samples') or [{}] * len(images)
                path = samples[index].get('img_path', None)
                raise ValueError(
                    'Expected finite pixels, but got NaN or infinity in '
                    f'image {index} of the batch'
                    f'{f" ({path})" if path else ""}. A reference with NaN '
                    'would spoil other images. Replace or remove it.'
                )

    @not_compiled  # it counts: compiled anew at every step
    def _draw_and_combine(self, images, samples):
        iteration = self._next_iteration()
        seed = torch.initial_seed() if self.seed is None else self.seed
        rank, world_size = get_dist_info()
        # What no rank needs others' images for is drawn for all rows of the
        # global batch, which samplers deal out in turn: as many processes as
        # there are, a row's draw is the same.
        own = slice(rank, None, world_size)
        coin_of = rank if self.mask_coin == 'rank' else 0
        mask = RowMask(
            draw_mask(
                len(images) * world_size,
                self.mask_prob,
                self.mask_by,
                draw_generator(seed, coin_of, iteration, 'masks'),
            )[own].tolist()
        )
        partners = None
        if self.reference_set is None:
            references, partners = self._draw_from_batch(
                images, draw_generator(seed, rank, iteration, 'references')
            )
        else:
            choice = draw_generator(seed, 0, iteration, 'references').integers(
                len(self.reference_set), size=len(images) * world_size
            )[own]
            references = self._read_references(choice)
            _check_set_size(images, references)
        for sample, masked in zip(samples, mask.rows):
            sample.set_field(masked, 'reference_masked', dtype=bool)
        if samples and mask.any and not mask.all:
            # its indices are on the device before the forward pass is queued
            carry_mask(samples, mask)
        return self._combine(images, references, partners, mask)

    def _combine(
        self,
        images: torch.Tensor,
        references: torch.Tensor,
        partners: torch.Tensor | None,
        mask: RowMask,
    ) -> torch.Tensor:
        """What the network reads of normalised images and references.

        Args:
            images (torch.Tensor): (B, C, H, W).
            references (torch.Tensor): What references are taken from.
            partners (torch.Tensor, optional): (B,), which of them each image
                takes. None: there is one for each image, in order.
            mask (RowMask): Which rows are masked.
        """
        raise NotImplementedError

    def _next_iteration(self) -> int:
        if self._iteration is None:
            self._iteration = int(self.iteration)
        self._iteration += 1
        self.iteration += 1
        return self._iteration - 1

    def _read_references(self, choice):
        assert self.reference_set is not None
        drawn = self.reference_set.images[torch.from_numpy(choice)]
        drawn = copy_to_device(drawn, self.device)
        return super().forward(dict(inputs=drawn))['inputs']

    def _draw_from_batch(self, images, generator):
        """What references are taken from, and which each image takes."""
        last, self._last_image = self._last_image, images[-1:].detach().clone()
        if (
            len(images) == 1
            and last is not None
            and (last.shape == images.shape)
        ):
            return last, None  # a last batch of one
        partners = draw_partners(len(images), generator)
        return images, copy_to_device(partners, images.device)

    def _load_from_state_dict(
        self,
        state_dict,
        prefix,
        local_metadata,
        strict,
        missing_keys,
        unexpected_keys,
        error_msgs,
    ):
        super()._load_from_state_dict(
            state_dict,
            prefix,
            local_metadata,
            strict,
            missing_keys,
            unexpected_keys,
            error_msgs,
        )
        self._iteration = None
        key = prefix + 'iteration'
        if key in missing_keys:  # a plain model's checkpoint
            missing_keys.remove(key)


@MODELS.register_module()
class AnchoringDataPreprocessor(ReferenceDrawingDataPreprocessor):
    """The host's preprocessing, then anchoring and reference masking.

    A last batch of one borrows its reference from the batch before.

    In training a batch (B, C, H, W) leaves as ``[r, x - r]`` (B, 2C, H, W),
    after normalisation, padding, Mixup and CutMix, and every data sample gets
    ``reference_masked``. In testing images stay (B, C, H, W): the classifier
    anchors them against its reference bank. For a model that anchors
    features, see ``anchor_at`` there, a training batch leaves as
    :class:`~mmanchor.functional.ReferredImages`.

    Args:
        mask_prob (float): Probability of blanking the reference (the paper's
            alpha), in [0, 1]. Defaults to 0.25, the paper's for CIFAR; it
            takes 0.2 for ImageNet.
        mask_by (str): ``'batch'``: one coin for the whole batch, and for all
            ranks (the paper), which BatchNorm can give away by the statistics
            of such a batch; ``'sample'``: one for each image. Defaults to
            ``'batch'``.
        mask_coin (str): With ``mask_by='batch'``, ``'shared'``: all ranks
            toss the same coin, so that the whole batch of a step is masked
            (the paper); ``'rank'``: each its own, as the authors' code does.
            Defaults to ``'shared'``.
        references (str | dict): ``'batch'``: another image of the same batch,
            on the same rank; or the config of a
            :class:`~mmanchor.datasets.ReferenceSet`. Defaults to ``'batch'``.
        seed (int, optional): Seed of the draws, which depend on (seed, rank,
            iteration) alone; masks, and draws from a set, on (seed,
            iteration) and the row in the batch of all ranks, however many
            they are. Defaults to None: the seed of the run.
        **kwargs: Arguments of the host's ``ClsDataPreprocessor``.

    Shape:
        - inputs: (B, C, H, W), or a list of B (C, H, W)
        - output, training: (B, 2C, H, W); else: (B, C, H, W)

    Raises:
        TypeError: An argument is not known, ``mask_prob`` is no number,
            ``seed`` no integer, or ``references`` something else than named
            above.
        ValueError: ``mask_prob`` is outside [0, 1], ``mask_by`` or
            ``mask_coin`` another word, an image has NaN or infinity, or there
            is no reference to draw.

    Example:
        >>> from mmpretrain.structures import DataSample
        >>> preprocessor = AnchoringDataPreprocessor(mask_prob=0, seed=0)
        >>> batch = dict(
        ...     inputs=torch.rand(4, 3, 8, 8),
        ...     data_samples=[DataSample() for _ in range(4)],
        ... )
        >>> preprocessor(batch, training=True)['inputs'].shape
        torch.Size([4, 6, 8, 8])

    Source: arXiv 2406.00529, on reference masking. The authors' code pairs
    images with themselves at times; this does not.
    """

    # a model that anchors features gets images and references apart
    anchors = True

    def _combine(self, images, references, partners, mask):
        if self.anchors:
            return anchor_batch(images, references, partners, mask)
        if partners is not None:  # images of the batch, which they index
            references = partners
        rows = None
        if mask.any:
            rows = copy_to_device(torch.tensor(mask.rows), images.device)
        return ReferredImages(images, references, rows)


@MODELS.register_module()
class SubtractiveMixDataPreprocessor(ReferenceDrawingDataPreprocessor):
    """The host's preprocessing, then images minus references in some batches.

    The control for anchored training whose masked batches keep their true
    labels: such a batch trains on ``x - r`` with the label of ``x``, which is
    an augmentation that needs no anchoring. Here a plain model gets it. Draws
    of references and masks are those of :class:`AnchoringDataPreprocessor`
    with the same seed.

    In training a batch (B, C, H, W) keeps its shape: masked rows leave as
    ``x - r``, after normalisation, padding, Mixup and CutMix, the others as
    ``x``, and every data sample gets ``reference_masked``. In testing images
    stay as they are.

    Args:
        mask_prob (float): Probability of subtracting, in [0, 1]. Defaults to
            0.25.
        mask_by (str): See :class:`AnchoringDataPreprocessor`, as for the
            other arguments. Defaults to ``'batch'``.
        references (str | dict): ``'batch'``: another image of the same batch;
            or the config of a :class:`~mmanchor.datasets.ReferenceSet` that
            has its ``dataset``. Defaults to ``'batch'``.
        seed (int, optional): Seed of the draws. Defaults to None: the seed of
            the run.
        mask_coin (str): Defaults to ``'shared'``.
        **kwargs: Arguments of the host's ``ClsDataPreprocessor``.

    Shape:
        - inputs: (B, C, H, W), or a list of B (C, H, W)
        - output: (B, C, H, W)

    Raises:
        TypeError: See :class:`AnchoringDataPreprocessor`.
        ValueError: See :class:`AnchoringDataPreprocessor`.

    Example:
        >>> from mmpretrain.structures import DataSample
        >>> preprocessor = SubtractiveMixDataPreprocessor(mask_prob=1, seed=0)
        >>> batch = dict(
        ...     inputs=torch.ones(4, 3, 8, 8),
        ...     data_samples=[DataSample() for _ in range(4)],
        ... )
        >>> float(preprocessor(batch, training=True)['inputs'].abs().max())
        0.0

    Source: what arXiv 2406.00529's released code does to an image in a masked
    batch, without the rest of anchoring.
    """

    def _combine(self, images, references, partners, mask):
        if not mask.any:
            return images
        if partners is not None:
            references = references.index_select(0, partners)
        differences = images - references
        if mask.all:
            return differences
        rows, _ = mask.indices(images.device)
        return images.index_copy(0, rows, differences.index_select(0, rows))


def _sum_is_finite(parts: Sequence[torch.Tensor]) -> bool:
    """Whether there is surely no NaN or infinity: one answer for a batch.

    A sum of finite numbers may be infinite, so False says nothing.
    """
    sums = [
        part.sum(dtype=torch.promote_types(part.dtype, torch.float32))
        for part in parts
    ]
    total = sums[0] if len(sums) == 1 else torch.stack(sums).sum()
    return bool(total.isfinite())


def _check_set_size(images: torch.Tensor, references: torch.Tensor) -> None:
    if references.shape[1:] != images.shape[1:]:
        raise ValueError(
            'Expected images of the ReferenceSet to have the size (C, H, W) = '
            f'{tuple(images.shape[1:])} of the training images, but got '
            f'{tuple(references.shape[1:])}, as the test pipeline has it. Let '
            'training and test pipelines end at one size. Or give '
            '`ReferenceSet` a `dataset` whose `pipeline` ends at the training '
            'size, and `KReferenceHook` a `source`, a dataset or a folder, '
            'whose images go through the test pipeline.'
        )


def check_settings_reach_the_model(cfg: Config) -> None:
    """Refuse settings of anchoring that a runner would ignore.

    MMEngine reads the ``data_preprocessor`` at the top level only where the
    model has none of its own.

    Args:
        cfg (Config): Of a run.

    Raises:
        ValueError: There is one inside ``model``, which lacks settings of
            that at the top level.

    Example:
        >>> check_settings_reach_the_model(
        ...     Config(
        ...         dict(
        ...             model=dict(type='AnchoredImageClassifier'),
        ...             data_preprocessor=dict(mask_prob=0.9),
        ...         )
        ...     )
        ... )
    """
    model, given = cfg.get('model'), cfg.get('data_preprocessor')
    if not isinstance(model, dict) or not isinstance(given, dict):
        return
    inner = model.get('data_preprocessor')
    if not isinstance(inner, dict):
        return
    ours = named_arguments(*constructors(AnchoringDataPreprocessor))
    ignored = {
        name: value
        for name, value in given.items()
        if name in ours and not (name in inner and inner[name] == value)
    }
    if ignored:
        settings = ', '.join(
            f'{name}={value!r}' for name, value in ignored.items()
        )
        raise ValueError(
            'Expected one `data_preprocessor`, but got one inside `model` and '
            f'one beside it, whose {settings} would be ignored. Write '
            "`model = dict(type='AnchoredImageClassifier', data_preprocessor="
            f"dict(type='AnchoringDataPreprocessor', {settings}))` and drop "
            'the one beside it.'
        )


def _build_reference_set(references) -> ReferenceSet:
    built = (
        DATASETS.build(references)
        if isinstance(references, dict)
        else references
    )
    if not isinstance(built, ReferenceSet):
        raise TypeError(
            "Expected `references` to be 'batch' or "
            f"dict(type='ReferenceSet', ...), but got {references!r}."
        )
    return built


def _check_probability(mask_prob) -> float:
    if not isinstance(mask_prob, Real) or isinstance(mask_prob, bool):
        raise TypeError(
            'Expected `mask_prob` to be a number in [0, 1], but '
            f'got {mask_prob!r}.'
        )
    if math.isnan(mask_prob) or not 0 <= float(mask_prob) <= 1:
        raise ValueError(
            f'Expected `mask_prob` to be in [0, 1], but got {mask_prob}.'
        )
    return float(mask_prob)
