"""Saves a checkpoint and exits when the process receives a signal."""

import atexit
import multiprocessing
import os
import signal
import threading

import torch
import torch.distributed as dist
from mmengine.dist import barrier, is_distributed
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmpretrain.registry import HOOKS

from ..reference_source import only_plots_schedule
from .atomic_checkpoint_hook import AtomicCheckpointHook
from .reproducible_run_hook import ReproducibleRunHook

# Windows has no SIGUSR1.
SIGNALS = tuple(
    getattr(signal, name)
    for name in ('SIGTERM', 'SIGUSR1')
    if hasattr(signal, name)
)
_ORPHANED = 1000  # Stands in for a signal number if torchrun has died.


class Stopped(SystemExit):
    """Ends a run that has saved a checkpoint because of a signal."""


@HOOKS.register_module()
class StopOnSignalHook(Hook):
    """Save a checkpoint and exit with status 0 on SIGTERM or SIGUSR1.

    It is enough that one rank receives the signal: the ranks vote regularly,
    and all of them stop after the same iteration. A vote is sent while the
    next iteration is computed. Data-loading workers, which a cluster signals
    too, continue until their process exits. A signal during validation takes
    effect after the validation. Ranks also stop if their torchrun was killed,
    because nothing else would end them.

    The checkpoint is ``interrupted.pth``. It is written by an
    :class:`~mmanchor.engine.AtomicCheckpointHook`, which the run must have.
    ``tools/train.py`` adds both hooks.

    Args:
        command (str, optional): The command that resumes the run, for the
            log. Defaults to None: the same command with ``--resume``.
        vote_interval (int): Number of iterations between two votes of several
            ranks, at least 1. Defaults to 10.

    Raises:
        ValueError: ``vote_interval`` is out of its range, or the run has no
            ``AtomicCheckpointHook`` when training starts.
    """

    priority = 'LOWEST'  # Runs after all other hooks of an iteration.

    def __init__(self, command: str | None = None, vote_interval: int = 10):
        if not isinstance(vote_interval, int) or vote_interval < 1:
            raise ValueError(
                'Expected `vote_interval` to be a positive '
                f'integer, but got {vote_interval!r}.'
            )
        self.vote_interval = vote_interval
        self.command = command or 'the same command with `--resume`'
        self._signal = 0
        self._stop = 0
        self._group = self._vote = None
        self._handlers = {}
        self._exiting = None
        # The process ID of torchrun, if it started this process.
        self._parent = (
            os.getppid() if 'TORCHELASTIC_RUN_ID' in os.environ else None
        )

    def before_train(self, runner: Runner) -> None:
        """Install the signal handlers."""
        if only_plots_schedule(runner):
            return
        self._checkpoints = next(
            (
                hook
                for hook in runner.hooks
                if isinstance(hook, AtomicCheckpointHook)
            ),
            None,
        )
        if self._checkpoints is None:
            raise ValueError(
                'Expected an AtomicCheckpointHook for StopOnSignalHook to '
                'save with, but there is none. Set `default_hooks = dict('
                "checkpoint=dict(type='AtomicCheckpointHook'))`."
            )
        if is_distributed():
            # Votes are on the CPU, so that they do not wait for a GPU.
            self._group = dist.new_group(backend='gloo')
        # Shared with the workers; 1 means that they may exit.
        self._exiting = multiprocessing.Value('b', 0, lock=False)
        atexit.register(setattr, self._exiting, 'value', 1)
        loops = [runner.train_loop, runner.val_loop]
        for loader in [loop.dataloader for loop in loops if loop is not None]:
            loader.worker_init_fn = _IgnoreSignals(
                loader.worker_init_fn, self._exiting
            )
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                self._handlers[number] = signal.signal(
                    number, self._handle_signal
                )

    def after_train_iter(self, runner: Runner, *_, **__) -> None:
        """Vote, and stop if the previous vote decided so."""
        if self._parent is not None and os.getppid() != self._parent:
            self._signal = _ORPHANED
        self._stop = max(self._stop, self._result_of_vote())
        # Resuming between two steps of accumulated gradients is not exact.
        if self._stop and runner.optim_wrapper.should_update():
            self._save_and_exit(runner)
        if self._group is not None and self.every_n_train_iters(
            runner, self.vote_interval
        ):
            self._begin_vote()

    def after_train(self, runner: Runner) -> None:
        """Restore the signal handlers."""
        self._result_of_vote()  # Wait for the last vote.
        self.release()

    def release(self) -> None:
        """Restore the previous signal handlers, and let workers exit."""
        if self._exiting is not None:
            self._exiting.value = 1
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._handlers = {}

    def _handle_signal(self, number, _):
        self._signal = number

    def _begin_vote(self):
        largest = torch.tensor(self._signal)
        self._vote = (
            largest,
            dist.all_reduce(
                largest, dist.ReduceOp.MAX, group=self._group, async_op=True
            ),
        )

    def _result_of_vote(self) -> int:
        """Return a signal that any rank had at the last vote, or 0."""
        if self._group is None:
            return self._signal
        if self._vote is None:
            return 0
        largest, work = self._vote
        self._vote = None
        work.wait()
        return int(largest)

    @property
    def _reason(self) -> str:
        if self._stop == _ORPHANED:
            return 'because torchrun, which started this process, was killed,'
        return f'by {signal.Signals(self._stop).name}'

    def _save_and_exit(self, runner) -> None:
        path = self._checkpoints.save_now(runner)
        exact = (
            ''
            if any(
                isinstance(hook, ReproducibleRunHook) for hook in runner.hooks
            )
            else (
                ' Without ReproducibleRunHook, resuming starts the epoch '
                'again and is not exact.'
            )
        )
        runner.logger.info(
            f'Stopped {self._reason} after iteration '
            f'{runner.iter + 1}: saved {path}. Resume with {self.command}.'
            f'{exact}'
        )
        self._exiting.value = 1
        runner.visualizer.close()
        if is_distributed():
            barrier()  # Wait until rank 0 has saved.
            dist.destroy_process_group()
        raise Stopped(0)


class _IgnoreSignals:
    """Starts a worker that ignores signals until its process exits.

    Args:
        init_fn (Callable, optional): The loader's own function that starts a
            worker.
        exiting (multiprocessing.Value): 1 when workers may exit.
    """

    def __init__(self, init_fn, exiting):
        self.init_fn = init_fn
        self.exiting = exiting

    def __call__(self, worker_id):
        for number in SIGNALS:
            signal.signal(number, self._handle_signal)
        if self.init_fn is not None:
            self.init_fn(worker_id)

    def _handle_signal(self, number, _):
        if self.exiting.value:
            os._exit(0)
