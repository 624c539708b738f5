"""Keeps masked batches out of the running statistics of BatchNorm."""

from typing import TYPE_CHECKING, Any

import torch
from mmengine.dist import all_reduce, get_world_size
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from ..utils.pytorch import not_compiled

MASKED_NORM_STATS = ('skip', 'update')


if TYPE_CHECKING:
    from mmpretrain.models import ImageClassifier as _Host
else:
    _Host = object


class MaskedNormStats(_Host):
    """A mixin that keeps masked batches out of running statistics.

    It goes before ``ImageClassifier``. ``loss`` decides for its batch; all
    other forward passes update the statistics as usual.

    Args:
        masked_norm_stats (str): Whether batches of which every row is masked
            move the running statistics of BatchNorm layers: ``'skip'``: no;
            ``'update'``: yes. The batch of a synchronised layer is that of
            all ranks, whose statistics stay equal. Defaults to ``'skip'``.

    Raises:
        ValueError: ``masked_norm_stats`` is another word.
    """

    _tracks_running_stats = True
    _in_loss = False

    def __init__(self, *args, masked_norm_stats: str = 'skip', **kwargs):
        if masked_norm_stats not in MASKED_NORM_STATS:
            raise ValueError(
                "Expected `masked_norm_stats` to be 'skip' or "
                f"'update', but got {masked_norm_stats!r}."
            )
        super().__init__(*args, **kwargs)
        self.masked_norm_stats = masked_norm_stats

    def train_step(self, *args, **kwargs) -> dict:
        """Do a training step, after which all batches update statistics."""
        try:
            return super().train_step(*args, **kwargs)
        finally:
            self._set_tracking(True)

    def train(self, mode: bool = True):
        """Set the mode, after which all batches update statistics."""
        self._set_tracking(True)
        return super().train(mode)

    def loss(self, inputs, data_samples, *args, **kwargs) -> dict:
        """Compute losses; a masked batch does not update statistics."""
        self._track_in_loss(data_samples)
        self._in_loss = True
        try:
            return super().loss(inputs, data_samples, *args, **kwargs)
        finally:
            self._in_loss = False

    def extract_feat(self, *args, **kwargs):
        """Extract features, which updates statistics outside of ``loss``."""
        self._track_outside_loss()
        return super().extract_feat(*args, **kwargs)

    @not_compiled  # it would be compiled anew for every pattern
    def _track_in_loss(self, data_samples) -> None:
        # Set before a forward rather than undone after it: activation
        # checkpointing runs the layers once more in the backward pass.
        self._set_tracking(
            not (
                self.masked_norm_stats == 'skip'
                and self._whole_batch_is_masked(data_samples)
            )
        )

    @not_compiled
    def _track_outside_loss(self) -> None:
        if not self._in_loss:
            self._set_tracking(True)

    def _whole_batch_is_masked(self, data_samples) -> bool:
        masked = bool(data_samples) and all(
            getattr(sample, 'reference_masked', False)
            for sample in data_samples
        )
        if (
            self.training
            and self._ranks_mask_differently
            and get_world_size() > 1
            and any(map(_is_synchronised, self.modules()))
        ):
            # A synchronised layer averages over the rows of all ranks, so all
            # ranks have to decide alike.
            like = next(self.parameters())
            flag = torch.tensor(int(masked), device=like.device)
            all_reduce(flag, 'min')
            masked = bool(flag)
        return masked

    @property
    def _ranks_mask_differently(self) -> bool:
        preprocessor = self.data_preprocessor
        return (
            getattr(preprocessor, 'mask_by', None) == 'sample'
            or getattr(preprocessor, 'mask_coin', None) == 'rank'
        )

    def _set_tracking(self, track: bool) -> None:
        if track == self._tracks_running_stats:
            return
        self._tracks_running_stats = track
        layers: list[Any] = list(filter(has_running_stats, self.modules()))
        for module in layers:
            module.track_running_stats = track
            if not isinstance(module, _BatchNorm):
                # InstanceNorm and mmcv's compiled layers obey the momentum
                if track:
                    module.momentum = module.momentum_of_unmasked
                else:
                    module.momentum_of_unmasked = module.momentum
                    module.momentum = 0.0


def has_running_stats(module: nn.Module) -> bool:
    """Whether a layer uses running statistics in evaluation.

    Example:
        >>> has_running_stats(nn.BatchNorm2d(4))
        True
        >>> has_running_stats(nn.InstanceNorm2d(4))
        False
    """
    return hasattr(module, 'track_running_stats') and isinstance(
        getattr(module, 'running_mean', None), torch.Tensor
    )


def _is_synchronised(module: nn.Module) -> bool:
    # compared by name, since mmcv's class needs compiled operators to import
    return type(module).__name__ == 'SyncBatchNorm'
