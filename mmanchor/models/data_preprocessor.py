"""Preprocessing of training batches: anchoring, and its control."""

import math
from collections.abc import Sequence
from numbers import Real
from typing import NamedTuple

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
    crop_pixels,
    draw_crops,
    draw_generator,
    draw_mask,
    draw_partners,
)
from ..functional.masking import MASK_BY, MASK_COIN
from ..utils.names import check_arguments, constructors, named_arguments
from ..utils.pytorch import copy_to_device, not_compiled
from .reference_augments import ReferenceAugments
from .row_masks import carry_mask


class _BatchDraws(NamedTuple):
    """What the draws of one batch are a function of."""

    seed: int
    rank: int
    world_size: int
    iteration: int

    def generator(self, stream: str, rank: int = 0):
        """The random generator of one kind of draw."""
        return draw_generator(self.seed, rank, self.iteration, stream)

    @property
    def own(self) -> slice:
        """The rows of this rank among those of the global batch.

        What no rank needs others' images for is drawn for all rows of the
        global batch, which samplers deal out in turn: as many processes as
        there are, a row's draw is the same.
        """
        return slice(self.rank, None, self.world_size)


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
        self.mask_prob = _check_share('mask_prob', mask_prob)
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
        """Preprocess a batch and, in training, combine it with references."""
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
        draws = _BatchDraws(seed, *get_dist_info(), iteration)
        everybody = len(images) * draws.world_size
        coin_of = draws.rank if self.mask_coin == 'rank' else 0
        mask = RowMask(
            draw_mask(
                everybody,
                self.mask_prob,
                self.mask_by,
                draws.generator('masks', coin_of),
            )[draws.own].tolist()
        )
        partners = None
        if self.reference_set is None:
            references, partners = self._draw_from_batch(
                images, draws.generator('references', draws.rank)
            )
        else:
            choice = draws.generator('references').integers(
                len(self.reference_set), size=everybody
            )[draws.own]
            references = self._read_references(choice)
            _check_set_size(images, references)
        for sample, masked in zip(samples, mask.rows):
            sample.set_field(masked, 'reference_masked', dtype=bool)
        if samples and mask.any and not mask.all:
            # The head needs them, whatever `_combine` does. They are copied
            # before the forward pass is queued.
            mask.indices(images.device)
            carry_mask(samples, mask)
        return self._combine(images, references, partners, mask, draws)

    def _combine(
        self,
        images: torch.Tensor,
        references: torch.Tensor,
        partners: torch.Tensor | None,
        mask: RowMask,
        draws: _BatchDraws,
    ) -> torch.Tensor:
        """What the network reads of normalised images and references.

        Args:
            images (torch.Tensor): (B, C, H, W).
            references (torch.Tensor): What references are taken from.
            partners (torch.Tensor, optional): (B,), which of them each image
                takes. None: there is one for each image, in order.
            mask (RowMask): Which rows are masked.
            draws (_BatchDraws): For other draws.
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
        self, state_dict, prefix, metadata, strict, missing_keys, *args
    ):
        super()._load_from_state_dict(
            state_dict, prefix, metadata, strict, missing_keys, *args
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
        mask_keep (float): Share of its area that a masked reference keeps, in
            [0, 1]: a crop at a random place, which is drawn for each row,
            while the rest is blanked. Masked rows answer to the masked target
            as before, so that a large share wants ``masked_target='label'``.
            0 blanks the reference, 1 leaves it. Defaults to 0.
        reference_augments (Sequence[dict], optional): Transforms by which
            references are augmented before the network sees them: those of
            torchvision by their names in MMPretrain, such as
            ``torchvision/ColorJitter``, and ``RandomApply`` and
            ``RandomChoice`` of them. The residual is taken to the reference
            as it was: ``[A(r), x - r]``. A transform draws once for all
            references of a batch. See
            :class:`~mmanchor.models.ReferenceAugments`. Defaults to None.
        augment_every (int): Augment references in every n-th batch only.
            Defaults to 1: in each.
        **kwargs: Arguments of the host's ``ClsDataPreprocessor``.

    Shape:
        - inputs: (B, C, H, W), or a list of B (C, H, W)
        - output, training: (B, 2C, H, W); else: (B, C, H, W)

    Raises:
        TypeError: An argument is not known, ``mask_prob`` or ``mask_keep`` is
            no number, ``seed`` no integer, ``reference_augments`` no list of
            configs, or ``references`` something else than named above.
        ValueError: ``mask_prob`` or ``mask_keep`` is outside [0, 1],
            ``mask_by`` or ``mask_coin`` another word, ``augment_every`` below
            1, an augmentation works on no batch of tensors or changes its
            shape, an image has NaN or infinity, or there is no reference to
            draw.

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
    images with themselves at times; this does not. Augmented references are
    those of Δ-UQ (arXiv 2207.07235) and AMP (arXiv 2207.04125), whose code
    augments in every fifth batch; Δ-UQ's code takes the residual to the
    reference as it was, AMP's to the augmented one. Partial masks are ours.
    """

    # a model that anchors features gets images and references apart
    anchors = True

    def __init__(
        self,
        mask_prob: float = 0.25,
        mask_by: str = 'batch',
        references: str | dict = 'batch',
        seed: int | None = None,
        mask_coin: str = 'shared',
        *,
        mask_keep: float = 0,
        reference_augments: Sequence[dict] | None = None,
        augment_every: int = 1,
        **kwargs,
    ):
        super().__init__(
            mask_prob, mask_by, references, seed, mask_coin, **kwargs
        )
        self.mask_keep = _check_share('mask_keep', mask_keep)
        if (
            not isinstance(augment_every, int)
            or isinstance(augment_every, bool)
            or augment_every < 1
        ):
            raise ValueError(
                'Expected `augment_every` to be a positive integer, but got '
                f'{augment_every!r}. Set 1 to augment references in every '
                'batch.'
            )
        self.augment_every = augment_every
        self.reference_augments = None
        if reference_augments is not None:
            if not self._enable_normalize:
                raise ValueError(
                    'Expected `mean` and `std` with `reference_augments`, by '
                    'which references become pixels again, but got none. '
                    'Let the data preprocessor normalise, not the pipeline.'
                )
            self.reference_augments = ReferenceAugments(reference_augments)

    def _combine(self, images, references, partners, mask, draws):
        augmented = self._augment(references, mask, draws)
        if self.anchors:
            keep = self._draw_kept_pixels(images, mask, draws)
            return anchor_batch(
                images, references, partners, mask, augmented, keep
            )
        if partners is not None:  # images of the batch, which they index
            references = partners
            if augmented is not None:
                augmented = augmented.index_select(0, partners)
        rows = None
        if mask.any:
            rows = images.new_full((len(images),), mask.all, dtype=torch.bool)
            if not mask.all:
                rows.index_fill_(0, mask.indices(images.device)[0], True)
        return ReferredImages(images, references, rows, augmented)

    def _augment(self, references, mask, draws):
        """Augmented references; None where the network sees none."""
        if (
            self.reference_augments is None
            or draws.iteration % self.augment_every
            or (mask.all and not self.mask_keep)
        ):
            return None
        generator = draws.generator('augments', draws.rank)
        return self.reference_augments(
            references,
            self.mean,
            self.std,
            seed=int(generator.integers(2**63)),
        )

    def _draw_kept_pixels(self, images, mask, draws):
        """The pixels of masked references that are not blanked."""
        if not self.mask_keep or not mask.any:
            return None
        size = tuple(images.shape[-2:])
        corners = draw_crops(
            len(images) * draws.world_size,
            size,
            self.mask_keep,
            draws.generator('crops'),
        )[draws.own][mask.rows]
        return crop_pixels(
            copy_to_device(torch.from_numpy(corners), images.device),
            size,
            self.mask_keep,
        )


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

    def _combine(self, images, references, partners, mask, draws):
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


def _check_share(name: str, value) -> float:
    if not isinstance(value, Real) or isinstance(value, bool):
        raise TypeError(
            f'Expected `{name}` to be a number in [0, 1], but got {value!r}.'
        )
    if math.isnan(value) or not 0 <= float(value) <= 1:
        raise ValueError(
            f'Expected `{name}` to be in [0, 1], but got {value}.'
        )
    return float(value)
