"""Saving and leaving when the cluster says so."""

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

# Windows has no SIGUSR1
SIGNALS = tuple(
    getattr(signal, name)
    for name in ('SIGTERM', 'SIGUSR1')
    if hasattr(signal, name)
)
_ORPHANED = 1000  # in place of a signal: torchrun is gone


class Stopped(SystemExit):
    """A run that was told to stop has saved itself."""


@HOOKS.register_module()
class StopOnSignalHook(Hook):
    """On SIGTERM or SIGUSR1 save a checkpoint and exit with status 0.

    One process that is told is enough: ranks vote, and all leave after the
    same iteration. A vote goes over the network while the next iteration is
    computed. Data-loading workers, which a cluster signals as
    well, stay at work until their process leaves. During validation a signal
    waits for its end. Ranks whose torchrun was killed stop likewise: nothing
    else would end them.

    With an :class:`~mmanchor.engine.AtomicCheckpointHook` the checkpoint is
    ``interrupted.pth``; there has to be one. ``tools/train.py`` sees to both.

    Args:
        command (str, optional): How to go on, for the log. Defaults to None:
            the same command with ``--resume``.
        vote_interval (int): Iterations from one vote to the next, at least 1,
            of several processes; one alone needs no vote. Defaults to 10.

    Raises:
        ValueError: ``vote_interval`` is out of range. Before training: there
            is no ``AtomicCheckpointHook``.
    """

    priority = 'LOWEST'  # after what belongs to the iteration

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
        self._leaving = None
        # torchrun's, if it started this process
        self._parent = (
            os.getppid() if 'TORCHELASTIC_RUN_ID' in os.environ else None
        )

    def before_train(self, runner: Runner) -> None:
        """Listen from now on."""
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
            # on the CPU, so that nothing waits for a GPU
            self._group = dist.new_group(backend='gloo')
        # set when the workers may go
        self._leaving = multiprocessing.Value('b', 0, lock=False)
        atexit.register(setattr, self._leaving, 'value', 1)
        loops = [runner.train_loop, runner.val_loop]
        for loader in [loop.dataloader for loop in loops if loop is not None]:
            loader.worker_init_fn = _Undisturbed(
                loader.worker_init_fn, self._leaving
            )
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                self._handlers[number] = signal.signal(number, self._told)

    def after_train_iter(self, runner: Runner, *_, **__) -> None:
        """Vote; leave if the vote before it said so."""
        if self._parent is not None and os.getppid() != self._parent:
            self._signal = _ORPHANED
        self._stop = max(self._stop, self._agreed())
        # between steps of accumulated gradients it would not be exact
        if self._stop and runner.optim_wrapper.should_update():
            self._leave(runner)
        if self._group is not None and self.every_n_train_iters(
            runner, self.vote_interval
        ):
            self._begin_vote()

    def after_train(self, runner: Runner) -> None:
        """Listen no more."""
        self._agreed()  # none is left on its way
        self.release()

    def release(self) -> None:
        """Let signals do again what they did before, and workers go."""
        if self._leaving is not None:
            self._leaving.value = 1
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._handlers = {}

    def _told(self, number, _):
        self._signal = number

    def _begin_vote(self):
        told = torch.tensor(self._signal)
        self._vote = (
            told,
            dist.all_reduce(
                told, dist.ReduceOp.MAX, group=self._group, async_op=True
            ),
        )

    def _agreed(self) -> int:
        """The signal that any rank was told by the last vote, or 0."""
        if self._group is None:
            return self._signal
        if self._vote is None:
            return 0
        told, work = self._vote
        self._vote = None
        work.wait()
        return int(told)

    @property
    def _reason(self) -> str:
        if self._stop == _ORPHANED:
            return 'because torchrun, which started this process, was killed,'
        return f'by {signal.Signals(self._stop).name}'

    def _leave(self, runner) -> None:
        path = self._checkpoints.save_now(runner)
        exact = (
            ''
            if any(
                isinstance(hook, ReproducibleRunHook) for hook in runner.hooks
            )
            else (
                ' Without ReproducibleRunHook it begins the epoch again: not '
                'exactly the same run.'
            )
        )
        runner.logger.info(
            f'Stopped {self._reason} after iteration '
            f'{runner.iter + 1}: saved {path}. Go on with {self.command}.'
            f'{exact}'
        )
        self._leaving.value = 1
        runner.visualizer.close()
        if is_distributed():
            barrier()  # until it is saved
            dist.destroy_process_group()
        raise Stopped(0)


class _Undisturbed:
    """Starts a worker that leaves signals to its process.

    Args:
        init_fn (Callable, optional): What else to do at the start.
        leaving (multiprocessing.Value): Set when workers may be ended.
    """

    def __init__(self, init_fn, leaving):
        self.init_fn = init_fn
        self.leaving = leaving

    def __call__(self, worker_id):
        for number in SIGNALS:
            signal.signal(number, self._told)
        if self.init_fn is not None:
            self.init_fn(worker_id)

    def _told(self, number, _):
        if self.leaving.value:
            os._exit(0)
