"""Checkpoints that are there whole, or not at all."""

import os
import shutil
from contextlib import contextmanager
from pathlib import Path

import torch
from mmengine.dist import all_reduce, is_main_process
from mmengine.fileio import LocalBackend
from mmengine.hooks import CheckpointHook
from mmengine.runner import Runner
from mmpretrain.registry import HOOKS

from ...utils.files import PARTIAL, whole_files
from ..reference_source import only_plots_schedule

LAST = 'last_checkpoint'
INTERRUPTED = 'interrupted.pth'


@HOOKS.register_module()
class AtomicCheckpointHook(CheckpointHook):
    """The host's, but a fault at any moment leaves a checkpoint to go on from.

    A checkpoint is written beside its place, put on the disk and renamed;
    then ``last_checkpoint``, likewise; only then are older ones removed, where
    the host removes first. What goes to another place than a local disk
    (``backend_args``) is left to its backend.

    A model whose weights are not finite is not saved: training ends, so that
    the good checkpoints before it stay.

    Args:
        *args: As for the host's ``CheckpointHook``.
        **kwargs: As for the host's ``CheckpointHook``.

    Raises:
        OSError: While training: a checkpoint could not be written.
        ValueError: While training: it diverged.

    Example:
        >>> AtomicCheckpointHook(interval=1, max_keep_ckpts=2).interval
        1
    """

    def before_train(self, runner: Runner) -> None:
        """Take away what a killed run left half-written."""
        super().before_train(runner)
        if is_main_process():
            for folder in {runner.work_dir, self.out_dir}:
                for left in Path(folder).glob(PARTIAL + '*'):
                    shutil.rmtree(left, ignore_errors=True)

    def save_now(self, runner: Runner) -> str:
        """Save between two iterations, to go on from there.

        Args:
            runner (Runner): After an iteration, before the next begins.

        Returns:
            str: The checkpoint: ``interrupted.pth``, over an earlier one.
        """
        self._check_finite(runner, runner.iter + 1)
        path = os.path.join(self.out_dir, INTERRUPTED)
        staged = _StagedRunner(runner, self)
        meta = dict(epoch=runner.epoch, iter=runner.iter + 1)
        staged.save_checkpoint(
            self.out_dir,
            INTERRUPTED,
            meta=meta,
            by_epoch=False,
            backend_args=self.backend_args,
        )
        if is_main_process():
            with staged.folder(path):
                Path(staged.work_dir, LAST).write_text(path, encoding='utf-8')
        return path

    def _save_checkpoint_with_step(self, runner, step, meta):
        if only_plots_schedule(runner):  # into the work dir of a real run
            return
        self._check_finite(runner, meta.get('iter', step))
        with self._old_ones_last():
            staged = _StagedRunner(getattr(runner, 'unstaged', runner), self)
            with staged.folder(self.filename_tmpl.format(step)):
                super()._save_checkpoint_with_step(staged, step, meta)

    def _save_best_checkpoint(self, runner, metrics):
        if not self.save_best:  # `runner.val()` comes here without training
            return
        self._check_finite(runner, runner.iter)
        with self._old_ones_last():
            super()._save_best_checkpoint(_StagedRunner(runner, self), metrics)

    def _check_finite(self, runner, iteration: int) -> None:
        """Refuse to save a model that diverged, on all ranks together."""
        wrong = _not_finite(runner.model)
        count = torch.tensor(len(wrong))
        all_reduce(count, 'max')
        if not count:
            return
        last = last_checkpoint(runner.work_dir)
        whole = (
            f'the checkpoint before, {last}, is whole. Go on from it '
            'with `--resume` and other settings, or start anew'
            if last
            else 'there is none before it. Start anew'
        )
        raise ValueError(
            f'Expected finite weights to save after iteration {iteration}, '
            f"but got NaN or infinity in {int(count)} of the model's "
            f'tensors{f", {wrong[0]} first" if wrong else ""}: training '
            f'diverged. Nothing was saved; {whole}, with a lower learning '
            'rate, say.'
        )

    @contextmanager
    def _old_ones_last(self):
        """Remove nothing before what is saved meanwhile is on the disk."""
        backend = self.file_backend
        self.file_backend = later = _LaterRemovals(backend)
        try:
            yield
        finally:
            self.file_backend = backend
        later.remove_now()


def last_checkpoint(work_dir: str) -> str | None:
    """What a work dir names as its last checkpoint, if anything.

    Example:
        >>> last_checkpoint('no/such/folder')
    """
    try:
        return Path(work_dir, LAST).read_text(encoding='utf-8').strip() or None
    except (OSError, UnicodeDecodeError):
        return None


def _not_finite(model: torch.nn.Module) -> list:
    """Names of parameters that are not finite, and of buffers with NaN.

    Buffers may be infinite by design: masks of attention are.
    """
    wrong = [
        name
        for name, value in model.named_parameters()
        if not value.isfinite().all()
    ]
    return wrong + [
        name for name, value in model.named_buffers() if value.isnan().any()
    ]


class _LaterRemovals:
    """A file backend that removes when told to."""

    def __init__(self, backend):
        self._backend = backend
        self._removals = []

    def __getattr__(self, name):
        return getattr(self._backend, name)

    def remove(self, path):
        self._removals.append((self._backend.remove, path))

    def rmtree(self, path):
        self._removals.append((self._backend.rmtree, path))

    def remove_now(self):
        for remove, path in self._removals:
            remove(path)


class _StagedRunner:
    """A runner whose files go to a folder beside, to be moved when whole."""

    def __init__(self, runner, hook):
        self.unstaged = runner
        self.work_dir = runner.work_dir
        self._last = last_checkpoint(runner.work_dir)
        self._local = isinstance(
            getattr(hook.file_backend, '_backend', hook.file_backend),
            LocalBackend,
        ) and isinstance(runner, Runner)

    def __getattr__(self, name):
        return getattr(self.unstaged, name)

    def save_checkpoint(self, out_dir, filename, *args, **kwargs):
        """Save and move."""
        save = self.unstaged.save_checkpoint
        if not self._local:
            save(out_dir, filename, *args, **kwargs)
        elif is_main_process():
            with self._explained(os.path.join(out_dir, filename)):
                with whole_files(out_dir) as partial:
                    save(str(partial), filename, *args, **kwargs)

    @contextmanager
    def folder(self, checkpoint):
        """Let what goes to the work dir appear when it is whole."""
        if not is_main_process():
            yield
            return
        with self._explained(checkpoint):
            with whole_files(self.unstaged.work_dir) as partial:
                self.work_dir = str(partial)
                yield

    @contextmanager
    def _explained(self, path):
        try:
            yield
        except (OSError, ValueError) as error:
            cause = error.__cause__ or error
            if not isinstance(cause, OSError) or hasattr(error, 'explained'):
                raise
            before = (
                f'The one before, {self._last}, is whole'
                if self._last
                else 'There is none before it'
            )
            explained = OSError(
                f'The checkpoint {path} could not be written: '
                f'{cause.strerror or cause}. {before}. Make room or name '
                'another `--work-dir`, and start the same command with '
                '`--resume` to go on from there.'
            )
            explained.explained = True
            raise explained from error
