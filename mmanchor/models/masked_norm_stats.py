"""BatchNorm's running statistics and masked batches."""

import torch
from mmengine.dist import all_reduce, get_world_size
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

MASKED_NORM_STATS = ('skip', 'update')


class MaskedNormStats:
    """Lets a classifier keep masked batches out of running statistics.

    A mixin before ``ImageClassifier``; its ``forward`` has to call
    :meth:`_track_running_stats` first.

    Args:
        *args: Arguments of the classifier.
        masked_norm_stats (str): Whether batches of which every row is masked
            move the running statistics of BatchNorm layers: ``'skip'``: no;
            ``'update'``: yes. The batch of a synchronised layer is that of
            all ranks. Defaults to ``'skip'``.
        **kwargs: Arguments of the classifier.

    Raises:
        ValueError: ``masked_norm_stats`` is another word.
    """

    _tracks_running_stats = True

    def __init__(self, *args, masked_norm_stats: str = 'skip', **kwargs):
        if masked_norm_stats not in MASKED_NORM_STATS:
            raise ValueError(
                "Expected `masked_norm_stats` to be 'skip' or "
                f"'update', but got {masked_norm_stats!r}."
            )
        super().__init__(*args, **kwargs)
        self.masked_norm_stats = masked_norm_stats

    def train_step(self, *args, **kwargs) -> dict:
        """A training step, after which all batches move statistics again."""
        try:
            return super().train_step(*args, **kwargs)
        finally:
            self._set_tracking(True)

    def train(self, mode: bool = True):
        """Set the mode, from which on all batches move statistics again."""
        self._set_tracking(True)
        return super().train(mode)

    @torch.compiler.disable  # it would be compiled anew for every pattern
    def _track_running_stats(self, mode, data_samples) -> None:
        # Set before a forward rather than undone after it: activation
        # checkpointing runs the layers once more in the backward pass.
        self._set_tracking(
            not (
                mode == 'loss'
                and self.masked_norm_stats == 'skip'
                and self._whole_batch_is_masked(data_samples)
            )
        )

    def _whole_batch_is_masked(self, data_samples) -> bool:
        masked = bool(data_samples) and all(
            getattr(sample, 'reference_masked', False)
            for sample in data_samples
        )
        if (
            self.training
            and self._ranks_mask_differently
            and get_world_size() > 1
            and any(
                isinstance(module, nn.SyncBatchNorm)
                for module in self.modules()
            )
        ):
            # Its statistics are those of all ranks' rows, so that all ranks
            # have to take the same decision.
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
        for module in self.modules():
            if (
                isinstance(module, _BatchNorm)
                and module.running_mean is not None
            ):
                module.track_running_stats = track
