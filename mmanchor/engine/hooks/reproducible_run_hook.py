"""Training as a pure function of config and seed, however often stopped."""

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

    The host seeds once, so that a resumed run draws other crops, flips and
    mixtures than an uninterrupted one. This hook seeds Python, NumPy and
    PyTorch before each training step from (seed, rank, iteration), and before
    each image is loaded from (seed, rank, epoch, place in the epoch), in the
    main process or in a worker. Resumed in the middle of an epoch, a run
    leaves out the batches that it has seen. So a run ends with the same
    weights to the last bit wherever it was interrupted, with any number of
    workers; on a GPU, where the operations themselves are deterministic
    (``randomness=dict(deterministic=True)``).

    What is not exact is warned of: another number of processes or another
    batch size than the checkpoint's, and checkpoints between two steps of
    accumulated gradients, which aren't saved.

    ``default_hooks = dict(reproducible=dict(type='ReproducibleRunHook'))``
    puts it where ``custom_hooks`` of a config that inherits leave it.

    Example:
        >>> from mmpretrain.registry import HOOKS
        >>> type(HOOKS.build(dict(type='ReproducibleRunHook'))).__name__
        'ReproducibleRunHook'
    """

    priority = 'LOWEST'  # the last to have a say before a step

    def __init__(self):
        self._seed = 0
        self._resumed: dict | None = None
        self._batches: SeededBatches | None = None
        self._skip = 0
        self._begun = None
        self._epoch = self._epoch_began_at = 0

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Keep what a resumed run was."""
        if runner._resume:
            self._resumed = dict(checkpoint.get('meta', {}))

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Say what has to be the same for an exact resume."""
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
                'gradients, which it does not hold: resuming from it is not '
                'exact. Save at a multiple of `accumulative_counts`.'
            )

    def before_train(self, runner: Runner) -> None:
        """Seed the batches; find where in the epoch a run goes on."""
        if only_plots_schedule(runner):
            return
        seed = torch.tensor([runner.seed])  # may differ between ranks
        broadcast(seed)
        self._seed = int(seed)
        loader = runner.train_dataloader
        if self._resumed is not None:
            self._skip = self._seen(runner)
            self._resumed = None
        if not isinstance(loader.batch_sampler, SeededBatches):
            # loaders refuse another one; all else reads it as it was
            object.__setattr__(
                loader, 'batch_sampler', SeededBatches(loader.batch_sampler)
            )
        self._batches = loader.batch_sampler
        loop = runner.train_loop
        if not isinstance(loop, EpochBasedTrainLoop):
            self._begin(0, self._first_number(runner), 0)
            # It may have begun to read already. Its workers end, but not what
            # it draws from: an infinite sampler shares that with the next.
            before = loop.dataloader_iterator
            self._begun = getattr(
                getattr(before, '_iterator', None), '_sampler_iter', None
            )
            loop.dataloader_iterator = type(before)(loader)

    def before_train_epoch(self, runner: Runner) -> None:
        """Seed what an epoch starts with."""
        seed_generators(self._seed, get_rank(), EPOCH, runner.epoch)
        if self._batches is not None and isinstance(
            runner.train_loop, EpochBasedTrainLoop
        ):
            self._begin(runner.epoch, self._skip, self._skip)
            self._epoch = runner.epoch
            self._epoch_began_at = runner.iter - self._skip
            self._skip = 0

    def before_train_iter(self, runner: Runner, *_, **__) -> None:
        """Seed the step."""
        seed_generators(self._seed, get_rank(), STEP, runner.iter)

    def _begin(self, epoch: int, number: int, skip: int) -> None:
        self._batches.begin(
            (self._seed, get_rank(), LOADING, epoch), number, skip
        )

    @staticmethod
    def _first_number(runner) -> int:
        """Of batches in a loop without epochs.

        The host skips what was seen: some samplers by themselves, others by
        reading batches, which counts them.
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
        """Batches of the epoch that the checkpoint had seen."""
        now = self._state(runner)
        saved = self._resumed.get(META_KEY)
        if saved is None:
            runner.logger.warning(
                'The checkpoint was written without ReproducibleRunHook: '
                'from here on the run is a function of config and seed, but '
                'not the one that an uninterrupted run would have been.'
            )
            return 0
        if saved['sampler_seed'] is not None:
            # drawn at random where the config has no seed
            runner.train_dataloader.sampler.seed = saved['sampler_seed']
        seen = saved['seen']
        if self._compare(runner, saved, now):
            # as many images, as nearly as can be
            seen = round(seen / saved['batches'] * now['batches'])
        if not isinstance(runner.train_loop, EpochBasedTrainLoop):
            return 0
        if seen:
            runner.logger.info(
                f'Going on in the middle of epoch {runner.epoch + 1}, after '
                f'{seen} of its {now["batches"]} batches.'
            )
        return seen

    @staticmethod
    def _compare(runner, saved, now) -> bool:
        """Warn of what makes a resumed run another one."""
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
                f'{described[1]}. From here on batches hold other images and '
                'draws are others, so the run is not the one that was '
                'interrupted, to the bit. Iterations are counted on from '
                f'{runner.iter}, and schedules by iteration with them; the '
                'learning rate is not scaled. Resume with the same number of '
                'processes and `batch_size` to be exact.'
            )
        return differs
