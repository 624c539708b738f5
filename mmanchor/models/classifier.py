"""The anchored classifier."""

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any, cast

import torch
from mmpretrain.models import ImageClassifier
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample
from torch import nn

from ..functional import (
    ReferredImages,
    anchor,
    average_references,
    check_same_size,
    check_uncertainty,
    fold,
    stem_distance,
)
from ..functional.place import map_tensors
from ..functional.uncertainty import AVERAGE
from ..utils.pytorch import copy_to_device
from .data_preprocessor import AnchoringDataPreprocessor
from .feature_place import FeaturePlace, anchor_features
from .heads import mask_head
from .inference.cache import TensorCache
from .inference.candidate_search import ChosenReferences
from .inference.protocols import (
    Answers,
    Protocol,
    build_protocol,
    check_measures,
    in_order,
)
from .inference.reference_passes import (
    chosen_pass,
    each_pass,
    mean_features,
    normalised,
    trunk_of,
)
from .inference.shared_stem import ImageWork
from .masked_norm_stats import MaskedNormStats, has_running_stats
from .reference_bank import ReferenceBank
from .widening import has_weights, widen_backbone


@MODELS.register_module()
class AnchoredImageClassifier(MaskedNormStats, ImageClassifier):
    """An ``ImageClassifier`` for anchored inputs.

    It widens the layers that read the image from C to 2C channels, turns the
    head into its reference-masking version and holds a reference bank. An
    input with 2C channels is anchored already, and one with C channels is
    anchored against the bank. Loading a plain model's checkpoint copies its
    stem to both halves, so that the model answers as the plain one did.

    With ``anchor_at`` it anchors features rather than images. Then the layers
    before that place run once for each image and each reference, and only
    the layers after it run K times.

    Args:
        backbone (dict | torch.nn.Module): See ``ImageClassifier``. The
            weights of a module, or of a config with ``pretrained``, are
            widened rather than replaced.
        neck (dict, optional): See ``ImageClassifier``.
        head (dict, optional): See ``ImageClassifier``. Its config may have
            ``masked_target``, see
            :func:`~mmanchor.models.heads.reference_masking`.
        pretrained (str, optional): See ``ImageClassifier``.
        train_cfg (dict, optional): See ``ImageClassifier``.
        data_preprocessor (dict, optional): An
            :class:`~mmanchor.models.AnchoringDataPreprocessor`, which is also
            the default type.
        init_cfg (dict, optional): See ``ImageClassifier``.
        stem (Sequence[str], optional): Names, within the backbone, of the
            layers that read the image. Defaults to None, which finds them by
            :func:`~mmanchor.functional.find_stem`, or builds a backbone
            without any convolution for 2C channels.
        image_channels (int, optional): C of a backbone that was built for 2C
            channels, with ``stem=[]``; or C of one without any convolution,
            with ``anchor_at``. Defaults to None, which reads it off the stem.
        anchor_at (str): What is anchored: ``'image'``; the output of a module
            of the backbone, given by its name, as ``'layer3'`` of ResNet,
            ``'layers.8'`` of ViT or ``'stages.2'`` of Swin; or ``'head'``,
            which means the neck's output. If only linear layers read it, they
            are widened as a stem is. Otherwise a linear map from 2C to C
            channels is added. Defaults to ``'image'``.
        masked_norm_stats (str): Whether batches in which every row is masked
            update the running statistics of BatchNorm layers, ``'skip'`` or
            ``'update'``. Their inputs are distributed differently from those
            at test. Defaults to ``'skip'``.
        average (str): What is averaged over references, ``'logits'`` or
            ``'probabilities'``. ``'calibrated'`` also divides mean logits by
            an amount that grows with their spread. See
            :func:`~mmanchor.functional.average_references`. Defaults to
            ``'logits'``.
        rows_per_pass (int): A forward pass has as many rows (pairs of an
            image and a reference) as the batch has images, or this many if
            that is more, so that memory does not grow with K. Defaults to 8.
            More makes small batches faster on a GPU.

    Attributes:
        stem (List[str]): Names of the widened layers, within the backbone, or
            within the head with ``anchor_at='head'``.
        place (FeaturePlace, optional): Where features are anchored. It is
            None if images are anchored.
        protocol (Protocol): How references are used at test. It is set by
            name, see
            :func:`~mmanchor.models.inference.protocols.build_protocol`, or by
            ``KReferenceHook``, and is ``'mean'`` at first.
        uncertainty (Sequence[str]): Measures of uncertainty that predictions
            carry, see :func:`~mmanchor.functional.check_uncertainty`. It is
            empty at first.

    Shape:
        - inputs: (B, C, H, W) or (B, 2C, H, W)
        - output, ``mode='tensor'``: (B, num_classes)

    Raises:
        TypeError: The head can't be masked, the data preprocessor does not
            anchor, there is no backbone, or an argument is unknown.
        ValueError: An argument is out of range, no layer reads the image, an
            input has neither C nor 2C channels or another size than the
            references, the bank is empty, or ``anchor_at`` is not a place
            that all features pass or not that of a checkpoint.

    Example:
        >>> model = AnchoredImageClassifier(
        ...     backbone=dict(type='ResNet_CIFAR', depth=18),
        ...     neck=dict(type='GlobalAveragePooling'),
        ...     head=dict(
        ...         type='LinearClsHead', num_classes=10, in_channels=512
        ...     ),
        ... ).eval()
        >>> model.reference_bank.fill(torch.zeros(2, 3, 32, 32))
        >>> model(torch.rand(4, 3, 32, 32)).shape
        torch.Size([4, 10])

    Source: arXiv 2406.00529, which does not mention running statistics.
    """

    backbone: nn.Module
    head: Any  # its class is created from the class of the host's head
    data_preprocessor: AnchoringDataPreprocessor

    def __init__(
        self,
        backbone: dict | nn.Module | None = None,
        neck: dict | None = None,
        head: dict | None = None,
        pretrained: str | None = None,
        train_cfg: dict | None = None,
        data_preprocessor: dict | None = None,
        init_cfg: dict | None = None,
        *,
        stem: Sequence[str] | None = None,
        image_channels: int | None = None,
        masked_norm_stats: str = 'skip',
        average: str = 'logits',
        rows_per_pass: int = 8,
        anchor_at: str = 'image',
        **kwargs,
    ):
        _check_arguments(backbone, kwargs)
        assert backbone is not None  # _check_arguments raises
        if average not in AVERAGE:
            raise ValueError(
                "Expected `average` to be 'logits', "
                "'probabilities' or 'calibrated', but got "
                f'{average!r}.'
            )
        if not isinstance(rows_per_pass, int) or rows_per_pass < 1:
            raise ValueError(
                'Expected `rows_per_pass` to be a positive '
                f'integer, but got {rows_per_pass!r}.'
            )
        if data_preprocessor is None:
            data_preprocessor = {}
        if isinstance(data_preprocessor, dict):
            data_preprocessor.setdefault(
                'type', 'mmpretrain.AnchoringDataPreprocessor'
            )
        super().__init__(
            backbone,
            neck,
            mask_head(head),
            pretrained,
            train_cfg,
            data_preprocessor,
            init_cfg,
            masked_norm_stats=masked_norm_stats,
        )
        if not isinstance(self.data_preprocessor, AnchoringDataPreprocessor):
            raise TypeError(
                'Expected `data_preprocessor` of an AnchoredImageClassifier '
                'to be an AnchoringDataPreprocessor, but got '
                f'{type(self.data_preprocessor).__name__}. Set '
                "`data_preprocessor = dict(type='AnchoringDataPreprocessor')`"
                ', or where the base config has it inside `model`, '
                "`model = dict(type='AnchoredImageClassifier', "
                "data_preprocessor=dict(type='AnchoringDataPreprocessor'))`."
            )
        if self.with_head:  # the host builds heads with `_scope_` by itself
            mask_head(self.head)
        self.place: FeaturePlace | None = None
        if anchor_at == 'image':
            self.backbone, self.stem, self.image_channels = widen_backbone(
                self.backbone, backbone, stem, image_channels
            )
        else:
            self._anchor_features(anchor_at, backbone, stem, image_channels)
        means = len(getattr(self.data_preprocessor, 'mean', ()))
        if means > 1 and means != self.image_channels:
            raise ValueError(
                f'Expected images of {means} channels, as many as `mean` has, '
                f'but {", ".join(self.stem) or "the backbone"} of '
                f'{type(self.backbone).__name__} reads '
                f'{self.image_channels}. Name the layers that read the image '
                'with `stem=[...]`, change `mean`, or build the backbone for '
                '2C channels and set `stem=[]` and `image_channels=C`.'
            )
        self.reference_bank = ReferenceBank(anchor_at)
        self.average = average
        self.rows_per_pass = rows_per_pass
        self.protocol = 'mean'
        self.uncertainty = ()
        self.kept_maps = TensorCache()

    def _anchor_features(self, anchor_at, backbone, stem, image_channels):
        if stem is not None:
            raise ValueError(
                f'Expected no `stem` with `anchor_at={anchor_at!r}`, since '
                f'the layers that read that place are widened, but got '
                f'{stem!r}. Drop one of the two.'
            )
        share = self.data_preprocessor.mask_keep
        if share:
            raise ValueError(
                f'Expected `mask_keep=0` with `anchor_at={anchor_at!r}`, '
                f'since no pixel is blanked there, but features, but got '
                f'{share}. Leave `mask_keep` out, or anchor images.'
            )
        self.place, self.image_channels = anchor_features(
            self, anchor_at, has_weights(self.backbone, backbone),
            image_channels,
        )  # yapf: disable
        self.stem = self.place.layers
        self.data_preprocessor.anchors = False

    @property
    def anchor_at(self) -> str:
        """The argument of this name."""
        return 'image' if self.place is None else self.place.name

    @property
    def widened_layers(self) -> list[str]:
        """Names, within the model, of the layers that were widened."""
        owner = 'backbone' if self.place is None else self.place.owner
        return [f'{owner}.{name}' for name in self.stem]

    @property
    def protocol(self) -> Protocol:
        """How references are used at test."""
        return self._protocol

    @protocol.setter
    def protocol(self, protocol: str | dict | Protocol) -> None:
        self._protocol = build_protocol(protocol)

    @property
    def uncertainty(self) -> Sequence[str]:
        """Measures of uncertainty that predictions carry."""
        return self._uncertainty

    @uncertainty.setter
    def uncertainty(self, names: str | Sequence[str]) -> None:
        self._uncertainty = check_uncertainty(names)

    @property
    def stem_distance(self) -> float | None:
        """Relative distance of the stem's halves.

        See :func:`~mmanchor.functional.stem_distance`. It is None for a
        backbone that was built for 2C channels, whose stem is unknown.
        """
        if not self.stem:
            return None
        return stem_distance(
            [
                cast(nn.Conv2d, self.get_submodule(name)).weight
                for name in self.widened_layers
            ]
        )

    def _load_from_state_dict(self, state_dict, prefix, *args):
        images = state_dict.get(f'{prefix}reference_bank.images')
        if (
            images is not None
            and len(images)
            and images.size(1) != self.image_channels
        ):
            raise ValueError(
                'Expected the checkpoint of a model for images of '
                f'{self.image_channels} channels, but its reference bank has '
                f'images of {images.size(1)}. Load one for as many channels.'
            )
        self._refuse_another_place(state_dict, prefix)
        super()._load_from_state_dict(state_dict, prefix, *args)

    def _refuse_another_place(self, state_dict, prefix) -> None:
        saved = ReferenceBank.place_in(state_dict, f'{prefix}reference_bank.')
        if saved is None and self.place is not None:
            wide = self._reads_anchored_images(state_dict, prefix)
            saved = 'image' if wide else None
        if saved is not None and saved != self.anchor_at:
            raise ValueError(
                f'Expected the checkpoint of a model with `anchor_at='
                f'{self.anchor_at!r}`, as this one has, but it anchors at '
                f'{saved!r}. Set `model = dict(anchor_at={saved!r})`.'
            )

    def _reads_anchored_images(self, state_dict, prefix) -> bool:
        """Whether the first layer of a checkpoint is wider than this one's.

        A checkpoint without a bank does not tell where its model anchors.
        """
        for name, own in self.backbone.named_parameters():
            saved = state_dict.get(f'{prefix}backbone.{name}')
            if own.dim() == 4 and saved is not None:
                return saved.size(1) == 2 * own.size(1)
        return False

    def train_step(self, *args, **kwargs) -> dict:
        """Do a training step, and then forget its references."""
        try:
            return super().train_step(*args, **kwargs)
        finally:
            self._forget_references()

    def train(self, mode: bool = True):
        """Set the mode, and forget references of a training step.

        DDP's wrapper has a ``train_step`` of its own, which does not call
        that of the model.
        """
        self._forget_references()
        return super().train(mode)

    def _forget_references(self) -> None:
        if self.place is not None:
            self.place.referred = None

    def forward(
        self,
        inputs: torch.Tensor,
        data_samples: list[DataSample] | None = None,
        mode: str = 'tensor',
    ):
        """Run the model; see ``ImageClassifier`` for modes and results.

        With ``mode='tensor'`` images of C channels return the logits that the
        protocol averages over references. Their softmax is the prediction.
        """
        inputs = self._referred(inputs)
        with self._referring(inputs):
            return self._forward(inputs, data_samples, mode)

    def _forward(self, inputs, data_samples, mode):
        if (
            mode == 'tensor'
            and self.with_head
            and not self._is_anchored(inputs)
        ):
            answers = self.answers(inputs)
            averages = [
                average_references(logits, self.average)
                for _, logits in answers
            ]
            if len(answers) == 1:
                return averages[0]
            rows = [rows.cpu() for rows, _ in answers if rows is not None]
            order = torch.cat(rows).argsort()
            return torch.cat(averages)[copy_to_device(order, inputs.device)]
        if mode == 'tensor' and self.with_head:
            self._track_outside_loss()
            return self.head(self._input_of_head(inputs))
        return super().forward(inputs, data_samples, mode)

    def extract_feat(self, inputs: torch.Tensor, stage: str = 'neck'):
        """Extract features, of plain images relative to their references.

        They are averaged over all references in use. With transduction they
        are those for the chosen reference. While BatchNorm updates running
        statistics in training, each image uses one of the references.

        Args:
            inputs (torch.Tensor): Images, anchored or not.
            stage (str): See ``ImageClassifier``. Defaults to ``'neck'``.
        """
        self._track_outside_loss()
        anchored = self._is_anchored(inputs)
        if anchored and self._in_loss:
            return self._input_of_head(inputs)
        if anchored or self._is_before_place(stage):
            return self.features_of_rows(inputs, stage)
        chosen = self._one_reference_each(inputs)
        if chosen is None:
            return mean_features(
                self, inputs, stage, self.protocol.features_of
            )
        if self.place is None or self._moves_running_stats:
            paired = self._pair(inputs, chosen)
            return self.features_of_rows(paired, stage)
        return chosen_pass(
            self,
            inputs,
            chosen.index,
            lambda rows, _: self.features_of_rows(rows, stage),
        )

    def features_of_rows(self, rows, stage: str = 'neck'):
        """Extract the host's features of the rows of one forward pass.

        There is one row for each image. References that pass the network
        with the images, to be subtracted later, are left out.

        Args:
            rows (torch.Tensor | ReferredImages): The input of the pass, which
                may be anchored images.
            stage (str): See ``ImageClassifier``. Defaults to ``'neck'``.
        """
        rows = self._referred(rows)
        if not isinstance(rows, ReferredImages):
            return ImageClassifier.extract_feat(self, rows, stage)
        if self._is_before_place(stage):
            return ImageClassifier.extract_feat(self, rows.images, stage)
        passed = rows.rows()
        with self._referring(rows):
            features = ImageClassifier.extract_feat(self, passed, stage)

        def of_images(values):
            # a head may anchor in its last layer, which follows all stages
            if len(values) == len(passed):
                return values[: len(rows.images)]
            return values

        return map_tensors(of_images, features)

    def _input_of_head(self, rows):
        """Extract what the head reads.

        If the head anchors features, it also reads those of references.
        """
        rows = self._referred(rows)
        with self._referring(rows):
            if isinstance(rows, ReferredImages):
                rows = rows.rows()
            return ImageClassifier.extract_feat(self, rows)

    def _is_before_place(self, stage: str) -> bool:
        """Whether features of a stage are not anchored yet."""
        return self.place is not None and self.place.is_after(stage)

    def _referred(self, inputs) -> Any:
        """Split anchored images if the model anchors features."""
        if (
            self.place is None
            or isinstance(inputs, ReferredImages)
            or not self._is_anchored(inputs)
        ):
            return inputs
        references, residuals = inputs.chunk(2, 1)
        return ReferredImages(references + residuals, references)

    def _referring(self, inputs):
        if self.place is None or not isinstance(inputs, ReferredImages):
            return nullcontext()
        return self.place.referring(self, inputs)

    def _pair(self, images: torch.Tensor, chosen: ChosenReferences) -> Any:
        """Combine images and one reference each into the input of a pass."""
        if self.place is None:
            return anchor(images, chosen.references)
        return ReferredImages(images, chosen.references)

    def reference_logits(
        self,
        inputs: torch.Tensor,
        which: slice = slice(None),
        work: ImageWork | None = None,
    ):
        """Compute the logits for each reference, whatever the protocol.

        Args:
            inputs (torch.Tensor): Images. Anchored ones have one reference.
            which (slice): Selects from the references in use. Defaults to
                all.
            work (ImageWork, optional): Results for these images from calls
                with other references; see :meth:`image_work`. Defaults to
                None.

        Shape:
            - inputs: (B, C, H, W) or (B, 2C, H, W)
            - output: (K, B, num_classes)
        """
        self._track_outside_loss()
        if self._is_anchored(inputs):
            logits = self.logits_of_rows(inputs, 1)
        else:
            of_groups = each_pass(
                self, inputs, self.logits_of_rows, which, work
            )
            logits = torch.cat([torch.cat(group) for group in of_groups], 1)
        # averages and spreads need more than half precision
        return logits.to(torch.promote_types(logits.dtype, torch.float32))

    def chosen_logits(
        self, images: torch.Tensor, chosen: ChosenReferences
    ) -> torch.Tensor:
        """Compute the logits of images for one reference each.

        Args:
            images (torch.Tensor): Normalised.
            chosen (ChosenReferences): Their references.

        Shape:
            - images: (B, C, H, W)
            - output: (1, B, num_classes)
        """
        if self.place is None:
            return self.reference_logits(anchor(images, chosen.references))
        logits = chosen_pass(self, images, chosen.index, self.logits_of_rows)
        return logits.to(torch.promote_types(logits.dtype, torch.float32))

    def image_work(self) -> ImageWork:
        """Share work between calls of :meth:`reference_logits`."""
        return ImageWork(trunk_of(self))

    def logits_of_rows(self, rows: torch.Tensor, k: int) -> torch.Tensor:
        """Compute the logits of the rows of one forward pass.

        Shape:
            - rows: (k B, C or 2C, H, W), reference-major
            - output: (k, B, num_classes)
        """
        rows = self._referred(rows)
        with self._referring(rows):
            return fold(self.head.logits(self._input_of_head(rows)), k)

    def run_host(self, images: torch.Tensor):
        """Run all parts that may read the place where features are anchored.

        Shape:
            - images: (B, C, H, W)
        """
        feats = ImageClassifier.extract_feat(self, images)
        return self.head.logits(feats) if self.with_head else feats

    def predict(
        self,
        inputs: torch.Tensor,
        data_samples: list[DataSample] | None = None,
    ) -> list[DataSample]:
        """Predict; see
        :meth:`~mmanchor.models.heads.ReferenceMasking.predict_from_logits`.
        """
        samples: list[Any] = list(data_samples or [None] * len(inputs))
        for rows, logits in self.answers(inputs):
            rows = range(len(samples)) if rows is None else rows.tolist()
            of_rows = [samples[row] for row in rows]
            predicted = self.head.predict_from_logits(
                logits,
                of_rows,
                self.average,
                self.uncertainty,
                self.protocol.same_number,
            )
            for row, sample in zip(rows, predicted):
                samples[row] = sample
        return samples

    def answers(self, inputs: torch.Tensor) -> Sequence[Answers]:
        """Compute the logits for the references that the protocol uses.

        While BatchNorm updates running statistics in training, each image
        uses one of the references: after several passes the statistics would
        be those of the last reference.

        Raises:
            ValueError: See
                :func:`~mmanchor.models.inference.protocols.check_measures` and
                :func:`~mmanchor.models.inference.protocols.in_order`.
        """
        check_measures(self.protocol, self.uncertainty, self.average)
        # a JIT trace can't follow a protocol's decisions
        if self._is_anchored(inputs) or torch.jit.is_tracing():
            return [Answers(None, self.reference_logits(inputs))]
        if self._moves_running_stats:
            chosen = self._one_reference_each(inputs)
            assert chosen is not None  # since statistics are updated
            paired = self._pair(inputs, chosen)
            return [Answers(None, self.reference_logits(paired))]
        answers = self.protocol.answer(self, inputs)
        return in_order(answers, inputs, self.protocol)

    @property
    def _moves_running_stats(self) -> bool:
        return any(
            module.training and has_running_stats(module)
            for module in self.modules()
        )

    def _one_reference_each(
        self, images: torch.Tensor
    ) -> ChosenReferences | None:
        """One reference for each image, or None if features are averaged.

        While running statistics are updated, references are distributed
        randomly and equally often, so that a batch has the mixture of
        references that is used at test.
        """
        chosen = self.protocol.choose(self, images)
        if chosen is not None or not self._moves_running_stats:
            return chosen
        references = normalised(self, self.reference_bank.in_use, images)
        check_same_size(images, references)
        which = torch.arange(len(references))[self.protocol.features_of]
        order = torch.randperm(max(len(images), len(which)))[: len(images)]
        index = copy_to_device(which[order % len(which)], images.device)
        return ChosenReferences(index, references[index])

    def _is_anchored(self, inputs: torch.Tensor | ReferredImages) -> bool:
        if isinstance(inputs, ReferredImages):
            return True
        channels = inputs.size(1)
        if channels not in (self.image_channels, 2 * self.image_channels):
            raise ValueError(
                f'Expected images with {self.image_channels} channels, or '
                f'anchored ones with {2 * self.image_channels}, but got '
                f'{channels}. Change the pipeline, or build the backbone for '
                'that many.'
            )
        return channels == 2 * self.image_channels


def _check_arguments(backbone, others: dict) -> None:
    """Raise for unknown arguments, such as those of other classifiers."""
    if 'model_name' in others:
        name = others['model_name']
        raise TypeError(
            'Expected a `backbone` of an AnchoredImageClassifier, but got '
            f'`model_name={name!r}`, an argument of TimmClassifier and '
            'HuggingFaceClassifier, whose networks are one piece with their '
            "heads. Write `model = dict(_delete_=True, type='"
            "AnchoredImageClassifier', backbone=dict(type='TIMMBackbone', "
            f"model_name={name!r}), neck=dict(type='GlobalAveragePooling'), "
            "head=dict(type='LinearClsHead', num_classes=..., "
            "in_channels=...))`, with timm's name of the network and its "
            '`num_features` as `in_channels`. Transformers, whose features '
            'are tokens, also need `features_only=True` in the backbone.'
        )
    if others:
        raise TypeError(
            'Expected arguments of AnchoredImageClassifier, but got '
            f'{", ".join(sorted(others))}. Drop them, or the arguments of '
            'another `model` with `_delete_=True`.'
        )
    if backbone is None:
        raise TypeError(
            'Expected a `backbone` of an AnchoredImageClassifier, but got '
            'none. Inherit from a config with one, or add it.'
        )
