"""Makes interrupted and resumed training exactly reproducible."""

import torch
from mmengine.dist import broadcast, get_rank, get_world_size
from mmengine.hooks import Hook
from mmengine.runner import EpochBasedTrainLoop, Runner
from mmpretrain.registry import HOOKS

from ...utils.seeding import (
    EPOCH,
    LOADING,
    STEP,
    SeededBatches,
    seed_generators,
)
from ..reference_source import only_plots_schedule

META_KEY = 'reproducible_run'


@HOOKS.register_module()
class ReproducibleRunHook(Hook):
    """Make a run a pure function of config and seed.

    MMEngine seeds once, so that a resumed run draws other crops, flips and
    mixtures than an uninterrupted one. This hook seeds Python, NumPy and
    PyTorch before each training step from (seed, rank, iteration), and before
    each image is loaded from (seed, rank, epoch, position in the epoch), in
    the main process or in a worker. A run that is resumed in the middle of an
    epoch skips the batches that it has trained on. So a run ends with the
    same weights to the last bit wherever it was interrupted, and with any
    number of workers. On a GPU this requires deterministic operations
    (``randomness=dict(deterministic=True)``).

    The hook warns if resuming is not exact: with another number of processes
    or another batch size than in the checkpoint, or from a checkpoint between
    two steps of accumulated gradients, which checkpoints do not contain.

    An inheriting config that sets ``custom_hooks`` does not remove the hook
    if it is a default hook::

        default_hooks = dict(reproducible=dict(type='ReproducibleRunHook'))

    Example:
        >>> from mmpretrain.registry import HOOKS
        >>> type(HOOKS.build(dict(type='ReproducibleRunHook'))).__name__
        'ReproducibleRunHook'
    """

    priority = 'LOWEST'  # Seeds after all other hooks, right before a step.

    def __init__(self):
        self._seed = 0
        self._resumed: dict | None = None
        self._batches: SeededBatches | None = None
        self._skip = 0
        self._abandoned_iterator = None
        self._epoch = self._epoch_began_at = 0

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Remember the state of the run that is resumed."""
        if runner._resume:
            self._resumed = dict(checkpoint.get('meta', {}))

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Save the state that has to be the same to resume exactly."""
        if only_plots_schedule(runner):
            return
        meta = checkpoint['meta']
        seen = (
            meta['iter'] - self._epoch_began_at
            if meta['epoch'] == self._epoch
            else 0
        )
        meta[META_KEY] = dict(self._state(runner), seen=seen)
        if not runner.optim_wrapper.should_update():
            runner.logger.warning(
                'This checkpoint lies between two steps of accumulated '
                'gradients, which it does not contain: resuming from it is '
                'not exact. Save at a multiple of `accumulative_counts`.'
            )

    def before_train(self, runner: Runner) -> None:
        """Seed the batches, and find the batch that a run continues with."""
        if only_plots_schedule(runner):
            return
        seed = torch.tensor([runner.seed])  # It may differ between ranks.
        broadcast(seed)
        self._seed = int(seed)
        loader = runner.train_dataloader
        if self._resumed is not None:
            self._skip = self._seen(runner)
            self._resumed = None
        if not isinstance(loader.batch_sampler, SeededBatches):
            # PyTorch's loaders refuse a new batch sampler by assignment.
            object.__setattr__(
                loader, 'batch_sampler', SeededBatches(loader.batch_sampler)
            )
        self._batches = loader.batch_sampler
        loop = runner.train_loop
        if not isinstance(loop, EpochBasedTrainLoop):
            self._begin(0, self._first_number(runner), 0)
            # MMEngine's iterator may have started to read. Its workers end,
            # but its sampler has to stay alive, because an infinite sampler
            # shares its state with the next iterator.
            before = loop.dataloader_iterator
            self._abandoned_iterator = getattr(
                getattr(before, '_iterator', None), '_sampler_iter', None
            )
            loop.dataloader_iterator = type(before)(loader)

    def before_train_epoch(self, runner: Runner) -> None:
        """Seed the start of an epoch."""
        seed_generators(self._seed, get_rank(), EPOCH, runner.epoch)
        if self._batches is not None and isinstance(
            runner.train_loop, EpochBasedTrainLoop
        ):
            self._begin(runner.epoch, self._skip, self._skip)
            self._epoch = runner.epoch
            self._epoch_began_at = runner.iter - self._skip
            self._skip = 0

    def before_train_iter(self, runner: Runner, *_, **__) -> None:
        """Seed a training step."""
        seed_generators(self._seed, get_rank(), STEP, runner.iter)

    def _begin(self, epoch: int, number: int, skip: int) -> None:
        self._batches.begin(
            (self._seed, get_rank(), LOADING, epoch), number, skip
        )

    @staticmethod
    def _first_number(runner) -> int:
        """Return the number of the first batch in a loop without epochs.

        MMEngine skips batches of a resumed run. Some samplers skip by
        themselves; for others, batches are read, which counts them.
        """
        loop = runner.train_loop
        skips = hasattr(runner.train_dataloader.sampler, 'skip') and hasattr(
            loop.dataloader_iterator, 'skip_iter'
        )
        return runner.iter if skips else 0

    @staticmethod
    def _state(runner) -> dict:
        loader = runner.train_dataloader
        sampler_seed = getattr(loader.sampler, 'seed', None)
        return dict(
            world_size=get_world_size(),
            batch_size=getattr(loader.batch_sampler, 'batch_size', None),
            batches=len(loader),
            sampler_seed=None if sampler_seed is None else int(sampler_seed),
        )

    def _seen(self, runner) -> int:
        """Return how many batches of the epoch the run was trained on."""
        now = self._state(runner)
        saved = self._resumed.get(META_KEY)
        if saved is None:
            runner.logger.warning(
                'The checkpoint was written without ReproducibleRunHook: from '
                'now on the run can be repeated exactly, but it differs from '
                'an uninterrupted run.'
            )
            return 0
        if saved['sampler_seed'] is not None:
            # The seed is random if the config has none.
            runner.train_dataloader.sampler.seed = saved['sampler_seed']
        seen = saved['seen']
        if self._compare(runner, saved, now):
            # Skip about the same number of images.
            seen = round(seen / saved['batches'] * now['batches'])
        if not isinstance(runner.train_loop, EpochBasedTrainLoop):
            return 0
        if seen:
            runner.logger.info(
                f'Resuming in the middle of epoch {runner.epoch + 1}, after '
                f'{seen} of its {now["batches"]} batches.'
            )
        return seen

    @staticmethod
    def _compare(runner, saved, now) -> bool:
        """Warn if the resumed run can't be exact, and return whether so."""
        names = ('world_size', 'batch_size', 'batches')
        differs = any(saved[name] != now[name] for name in names)
        if differs:
            described = [
                '{world_size} process(es) with {batch_size} images each, '
                '{batches} batches an epoch'.format(**state)
                for state in (saved, now)
            ]
            runner.logger.warning(
                f'The checkpoint was written by {described[0]}; this run has '
                f'{described[1]}. From now on batches and random draws differ '
                'from those of an uninterrupted run. Iterations, and '
                f'schedules by iteration, continue from {runner.iter}; the '
                'learning rate is not scaled. To resume exactly, use the same '
                'number of processes and the same `batch_size`.'
            )
        return differs
