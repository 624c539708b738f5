"""How much weight the stem puts on references, along training."""

from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmpretrain.registry import HOOKS

from ..reference_source import anchored_model, only_plots_schedule

TAG = 'train/stem_distance'


@HOOKS.register_module()
class StemDistanceHook(Hook):
    """Log the relative distance of the stem's halves, once an epoch.

    As ``stem_distance``, beside the loss, at the start of training and with
    the last iteration of each epoch; see
    :func:`~mmanchor.functional.stem_distance`. It falls where a network
    learns to ignore its references. For ``custom_hooks`` of anchored models.

    Raises:
        TypeError: The model does not anchor.
        ValueError: The backbone was built for 2C channels: its stem has no
            halves that could be compared.

    Example:
        >>> custom_hooks = [dict(type='StemDistanceHook')]
    """

    def before_train(self, runner: Runner) -> None:
        """Log where training starts from."""
        if only_plots_schedule(runner):
            return
        if anchored_model(runner).stem_distance is None:
            raise ValueError(
                'Expected a widened stem for StemDistanceHook, but got '
                f'{type(anchored_model(runner).backbone).__name__}, which was '
                'built for 2C channels. Take the hook out of `custom_hooks`.'
            )
        self._log(runner)

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch=None, outputs=None
    ) -> None:
        """Log at the end of an epoch, before the loggers write its line."""
        if only_plots_schedule(runner):
            return
        if (runner.iter + 1) % len(runner.train_dataloader) == 0:
            self._log(runner)

    def _log(self, runner: Runner) -> None:
        runner.message_hub.update_scalar(
            TAG, anchored_model(runner).stem_distance
        )
