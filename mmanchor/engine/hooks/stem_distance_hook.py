"""Logs how much weight the stem puts on references during training."""

from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmpretrain.registry import HOOKS

from ..reference_source import model_with_halves, only_plots_schedule

TAG = 'train/stem_distance'


@HOOKS.register_module()
class StemDistanceHook(Hook):
    """Log the relative distance between the stem's halves once an epoch.

    The log shows it as ``stem_distance`` beside the loss, at the start of
    training and after the last iteration of each epoch. It falls if the
    network learns to ignore its references; see
    :func:`~mmanchor.functional.stem_distance`. Add the hook to
    ``custom_hooks`` of an anchored model.

    Raises:
        TypeError: The model does not anchor.
        ValueError: The backbone was built for 2C channels, so its stem has no
            halves to compare.

    Example:
        >>> custom_hooks = [dict(type='StemDistanceHook')]
    """

    def before_train(self, runner: Runner) -> None:
        """Log the distance before training."""
        if only_plots_schedule(runner):
            return
        self._log(runner)

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch=None, outputs=None
    ) -> None:
        """Log at the end of an epoch, before loggers write their line."""
        if only_plots_schedule(runner):
            return
        if (runner.iter + 1) % len(runner.train_dataloader) == 0:
            self._log(runner)

    def _log(self, runner: Runner) -> None:
        distance = model_with_halves(runner, self).stem_distance
        runner.message_hub.update_scalar(TAG, distance)
