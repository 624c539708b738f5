"""BatchNorm's running statistics and masked batches."""
import torch
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
            ``'update'``: yes. Defaults to ``'skip'``.
        **kwargs: Arguments of the classifier.

    Raises:
        ValueError: ``masked_norm_stats`` is another word.
    """

    def __init__(self, *args, masked_norm_stats: str = 'skip', **kwargs):
        if masked_norm_stats not in MASKED_NORM_STATS:
            raise ValueError("Expected `masked_norm_stats` to be 'skip' or "
                             f"'update', but got {masked_norm_stats!r}.")
        super().__init__(*args, **kwargs)
        self.masked_norm_stats = masked_norm_stats
        self._tracks_running_stats = True

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
