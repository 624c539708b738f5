"""The classifier that anchors."""
import warnings
from typing import List, Optional, Sequence, Union

import torch
from mmpretrain.models import ImageClassifier
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from ..functional import (anchor_to_all, average_references, check_same_size,
                          fold)
from ..functional.uncertainty import AVERAGE
from .data_preprocessor import AnchoringDataPreprocessor
from .heads import mask_head
from .reference_bank import ReferenceBank
from .shared_stem import FrozenMaps, SharedStem
from .widening import widen_backbone

MASKED_NORM_STATS = ('skip', 'update')


@MODELS.register_module()
class AnchoredImageClassifier(ImageClassifier):
    """An ``ImageClassifier`` for anchored inputs.

    It widens whatever reads the image in the backbone from C to 2C channels,
    turns the head into its reference-masking version and holds a reference
    bank. An input with 2C channels is anchored already; one with C channels
    is anchored against the bank. Loading a plain model's checkpoint copies
    its stem to both halves, so that the model answers as the plain one did.

    Args:
        backbone (dict | torch.nn.Module): As for ``ImageClassifier``. The
            weights of a module, or of a config with ``pretrained``, are
            widened rather than replaced.
        neck (dict, optional): As for ``ImageClassifier``.
        head (dict, optional): As for ``ImageClassifier``; its config may have
            ``masked_target``, see
            :func:`~mmanchor.models.heads.reference_masking`.
        pretrained (str, optional): As for ``ImageClassifier``.
        train_cfg (dict, optional): As for ``ImageClassifier``.
        data_preprocessor (dict, optional): An
            :class:`~mmanchor.models.AnchoringDataPreprocessor`, which is also
            the default type.
        init_cfg (dict, optional): As for ``ImageClassifier``.
        stem (Sequence[str], optional): Names, within the backbone, of the
            layers that read the image. Defaults to None: found by
            :func:`~mmanchor.functional.find_stem`, and a backbone without
            any convolution is built for 2C channels.
        image_channels (int, optional): C of a backbone that was built for 2C
            channels, with ``stem=[]``. Defaults to None: read off the stem.
        masked_norm_stats (str): Whether batches of which every row is masked
            move the running statistics of BatchNorm layers: ``'skip'``: no;
            ``'update'``: yes. They are another input distribution than what
            is tested on. Defaults to ``'skip'``.
        average (str): What is averaged over references, ``'logits'`` or
            ``'probabilities'``. Defaults to ``'logits'``.
        rows_per_pass (int): References share a forward pass up to this many
            rows; a batch with more takes one pass a reference, so that memory
            does not grow with K but for the logits and for what the stem
            makes of the references. Defaults to 64.

    Attributes:
        stem (List[str]): The layers of the backbone that were widened.

    Shape:
        - inputs: (B, C, H, W) or (B, 2C, H, W)
        - output, ``mode='tensor'``: (B, num_classes)

    Raises:
        TypeError: The head can't be masked, or the data preprocessor does not
            anchor.
        ValueError: An argument is out of range, no layer reads the image, an
            input has neither C nor 2C channels or another size than the
            references, or the bank is empty.

    Example:
        >>> model = AnchoredImageClassifier(
        ...     backbone=dict(type='ResNet_CIFAR', depth=18),
        ...     neck=dict(type='GlobalAveragePooling'),
        ...     head=dict(type='LinearClsHead', num_classes=10,
        ...               in_channels=512)).eval()
        >>> model.reference_bank.fill(torch.zeros(2, 3, 32, 32))
        >>> model(torch.rand(4, 3, 32, 32)).shape
        torch.Size([4, 10])

    Source: arXiv 2406.00529, which leaves running statistics
    unmentioned.
    """

    def __init__(self,
                 backbone: Union[dict, nn.Module],
                 neck: Optional[dict] = None,
                 head: Optional[dict] = None,
                 pretrained: Optional[str] = None,
                 train_cfg: Optional[dict] = None,
                 data_preprocessor: Optional[dict] = None,
                 init_cfg: Optional[dict] = None,
                 *,
                 stem: Optional[Sequence[str]] = None,
                 image_channels: Optional[int] = None,
                 masked_norm_stats: str = 'skip',
                 average: str = 'logits',
                 rows_per_pass: int = 64):
        if masked_norm_stats not in MASKED_NORM_STATS:
            raise ValueError("Expected `masked_norm_stats` to be 'skip' or "
                             f"'update', but got {masked_norm_stats!r}.")
        if average not in AVERAGE:
            raise ValueError("Expected `average` to be 'logits' or "
                             f"'probabilities', but got {average!r}.")
        if not isinstance(rows_per_pass, int) or rows_per_pass < 1:
            raise ValueError('Expected `rows_per_pass` to be a positive '
                             f'integer, but got {rows_per_pass!r}.')
        if data_preprocessor is None:
            data_preprocessor = {}
        if isinstance(data_preprocessor, dict):
            data_preprocessor.setdefault('type', 'AnchoringDataPreprocessor')
        super().__init__(backbone, neck, mask_head(head), pretrained,
                         train_cfg, data_preprocessor, init_cfg)
        if not isinstance(self.data_preprocessor, AnchoringDataPreprocessor):
            raise TypeError(
                'Expected `data_preprocessor` of an AnchoredImageClassifier '
                'to be an AnchoringDataPreprocessor, but got '
                f'{type(self.data_preprocessor).__name__}. Set '
                "`data_preprocessor = dict(type='AnchoringDataPreprocessor')`"
                '.')
        if self.with_head:  # one that only the host could find, by `_scope_`
            mask_head(self.head)
        self.backbone, self.stem, self.image_channels = widen_backbone(
            self.backbone, backbone, stem, image_channels)
        means = len(getattr(self.data_preprocessor, 'mean', ()))
        if means > 1 and means != self.image_channels:
            raise ValueError(
                f'Expected images of {means} channels, as many as `mean` has, '
                f'but {", ".join(self.stem) or "the backbone"} of '
                f'{type(self.backbone).__name__} reads '
                f'{self.image_channels}. Name the layers that read the image '
                'with `stem=[...]`, change `mean`, or build the backbone for '
                '2C channels and set `stem=[]` and `image_channels=C`.')
        self.reference_bank = ReferenceBank()
        self.masked_norm_stats = masked_norm_stats
        self.average = average
        self.rows_per_pass = rows_per_pass
        self._tracks_running_stats = True
        self._maps = FrozenMaps()

    def _load_from_state_dict(self, state_dict, prefix, *args):
        images = state_dict.get(f'{prefix}reference_bank.images')
        if (images is not None and len(images)
                and images.size(1) != self.image_channels):
            raise ValueError(
                'Expected the checkpoint of a model for images of '
                f'{self.image_channels} channels, but its reference bank has '
                f'images of {images.size(1)}. Load one for as many channels.')
        super()._load_from_state_dict(state_dict, prefix, *args)

    def forward(self,
                inputs: torch.Tensor,
                data_samples: Optional[List[DataSample]] = None,
                mode: str = 'tensor'):
        """Forward; modes and results are those of ``ImageClassifier``.

        With ``mode='tensor'`` images of C channels give the average over
        references, whose softmax is the prediction.
        """
        self._track_running_stats(mode, data_samples)
        if mode == 'tensor' and self.with_head and not self._is_anchored(
                inputs):
            return average_references(
                self.reference_logits(inputs), self.average)
        return super().forward(inputs, data_samples, mode)

    def extract_feat(self, inputs: torch.Tensor, stage: str = 'neck'):
        """Features, averaged over references where the input is plain.

        Args:
            inputs (torch.Tensor): Images, anchored or not.
            stage (str): As for ``ImageClassifier``. Defaults to ``'neck'``.
        """
        if self._is_anchored(inputs):
            return super().extract_feat(inputs, stage)
        total = []

        def add(rows, k):
            feats = _map_tensors(
                lambda x: fold(x, k).sum(0),
                ImageClassifier.extract_feat(self, rows, stage))
            total[:] = [_map_tensors(torch.add, *total, feats)
                        ] if total else [feats]
            return k

        count = sum(self._each_pass(inputs, add))
        return _map_tensors(lambda x: x / count, *total)

    def reference_logits(self, inputs: torch.Tensor) -> torch.Tensor:
        """The logits for each reference.

        Args:
            inputs (torch.Tensor): Images; anchored ones have one reference.

        Shape:
            - inputs: (B, C, H, W) or (B, 2C, H, W)
            - output: (K, B, num_classes)
        """
        if self._is_anchored(inputs):
            logits = self.logits_of_rows(inputs, 1)
        else:
            logits = torch.cat(self._each_pass(inputs, self.logits_of_rows))
        # averages and spreads need more than half precision
        return logits.to(torch.promote_types(logits.dtype, torch.float32))

    def logits_of_rows(self, rows: torch.Tensor, k: int) -> torch.Tensor:
        """The logits of one pass, as it comes from the stem on.

        Shape:
            - rows: (k B, C or 2C, H, W), reference-major
            - output: (k, B, num_classes)
        """
        return fold(
            self.head.logits(ImageClassifier.extract_feat(self, rows)), k)

    def predict(
            self,
            inputs: torch.Tensor,
            data_samples: Optional[List[DataSample]] = None
    ) -> List[DataSample]:
        """Predict; see
        :meth:`~mmanchor.models.heads.ReferenceMasking.predict_from_logits`.
        """
        return self.head.predict_from_logits(
            self.reference_logits(inputs), data_samples, self.average)

    def _is_anchored(self, inputs: torch.Tensor) -> bool:
        channels = inputs.size(1)
        if channels not in (self.image_channels, 2 * self.image_channels):
            raise ValueError(
                f'Expected images with {self.image_channels} channels, or '
                f'anchored ones with {2 * self.image_channels}, but got '
                f'{channels}. Change the pipeline, or build the backbone for '
                'that many.')
        return channels == 2 * self.image_channels

    def _each_pass(self, images, function) -> list:
        """What the function makes of anchored rows (k B), and k, each time."""
        references = self._references(images)
        check_same_size(images, references)
        per_pass = max(1, self.rows_per_pass // len(images))
        layers = dict(self.backbone.named_modules())
        stem = [layers[name] for name in self.stem if name in layers]
        # Nothing is shared by a backbone built for 2C channels, nor by one
        # whose branches were merged; a JIT trace knows the model's own layers
        # only.
        if not stem or len(stem) < len(self.stem) or torch.jit.is_tracing():
            return [
                function(anchor_to_all(images, chunk), len(chunk))
                for chunk in references.split(per_pass)
            ]
        maps = self._maps.get(self.backbone, self.stem, references)
        return SharedStem(stem, maps).each(images, function, per_pass)

    def _references(self, images) -> torch.Tensor:
        """The references in use, normalised."""
        if torch.jit.is_tracing() and len(self.reference_bank) == 0:
            warnings.warn('The reference bank is empty: tracing with a blank '
                          'reference, to count operations and no more.')
            return torch.zeros_like(images[:1])
        return self.data_preprocessor(
            dict(inputs=self.reference_bank.in_use))['inputs'].to(images)

    @torch.compiler.disable  # it would be compiled anew for every pattern
    def _track_running_stats(self, mode, data_samples) -> None:
        # Set before a forward rather than undone after it: activation
        # checkpointing runs the layers once more in the backward pass.
        track = not (mode == 'loss' and self.masked_norm_stats == 'skip'
                     and bool(data_samples) and all(
                         s.get('reference_masked', False)
                         for s in data_samples))
        if track == self._tracks_running_stats:
            return
        self._tracks_running_stats = track
        for module in self.modules():
            if (isinstance(module, _BatchNorm)
                    and module.running_mean is not None):
                module.track_running_stats = track


def _map_tensors(function, *trees):
    """Apply a function to the tensors of nested tuples and lists."""
    if isinstance(trees[0], (tuple, list)):
        return type(trees[0])(
            _map_tensors(function, *branches) for branches in zip(*trees))
    return function(*trees)
