"""Writes checkpoints that no crash can leave half-written."""

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
    """A ``CheckpointHook`` that leaves a usable checkpoint after any crash.

    A checkpoint is written to a temporary folder, flushed to the disk and
    renamed; then ``last_checkpoint`` is, in the same way. Older checkpoints
    are removed only after that, whereas MMEngine removes them first. Files
    that do not go to a local disk (``backend_args``) are left to their
    backend.

    Training stops instead of saving a model whose weights are not finite, so
    that good checkpoints are not replaced.

    Args:
        *args: See MMEngine's ``CheckpointHook``.
        **kwargs: See MMEngine's ``CheckpointHook``.

    Raises:
        OSError: A checkpoint could not be written during training.
        ValueError: The training diverged.

    Example:
        >>> AtomicCheckpointHook(interval=1, max_keep_ckpts=2).interval
        1
    """

    def before_train(self, runner: Runner) -> None:
        """Remove the temporary folders of a run that was killed."""
        super().before_train(runner)
        if is_main_process():
            for folder in {runner.work_dir, self.out_dir}:
                for partial in Path(folder).glob(PARTIAL + '*'):
                    shutil.rmtree(partial, ignore_errors=True)

    def save_now(self, runner: Runner) -> str:
        """Save a checkpoint between two iterations.

        Args:
            runner (Runner): The runner, after an iteration.

        Returns:
            str: The path of the checkpoint, ``interrupted.pth``, which
            replaces an earlier one.
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
        if only_plots_schedule(runner):
            return  # It would write to the work dir of a real run.
        self._check_finite(runner, meta.get('iter', step))
        with self._remove_old_last():
            staged = _StagedRunner(getattr(runner, 'unstaged', runner), self)
            with staged.folder(self.filename_tmpl.format(step)):
                super()._save_checkpoint_with_step(staged, step, meta)

    def _save_best_checkpoint(self, runner, metrics):
        if not self.save_best:
            return  # `runner.val()` calls this without training.
        self._check_finite(runner, runner.iter)
        with self._remove_old_last():
            super()._save_best_checkpoint(_StagedRunner(runner, self), metrics)

    def _check_finite(self, runner, iteration: int) -> None:
        """Raise on all ranks if the weights of any rank are not finite."""
        wrong = _find_not_finite(runner.model)
        count = torch.tensor(len(wrong))
        all_reduce(count, 'max')
        if not count:
            return
        last = last_checkpoint(runner.work_dir)
        advice = (
            f'the checkpoint before, {last}, is whole. Resume from it '
            'with `--resume` and other settings, or start again'
            if last
            else 'there is no checkpoint before it. Start again'
        )
        raise ValueError(
            f'Expected finite weights to save after iteration {iteration}, '
            f"but got NaN or infinity in {int(count)} of the model's "
            f'tensors{f", {wrong[0]} first" if wrong else ""}: training '
            f'diverged. Nothing was saved; {advice}, for example with a lower '
            'learning rate.'
        )

    @contextmanager
    def _remove_old_last(self):
        """Remove old checkpoints only after the new one is on the disk."""
        backend = self.file_backend
        self.file_backend = deferred = _DeferredRemovals(backend)
        try:
            yield
        finally:
            self.file_backend = backend
        deferred.remove_now()


def last_checkpoint(work_dir: str) -> str | None:
    """Read the path of the last checkpoint; None if there is none.

    Example:
        >>> last_checkpoint('no/such/folder')
    """
    try:
        return Path(work_dir, LAST).read_text(encoding='utf-8').strip() or None
    except (OSError, UnicodeDecodeError):
        return None


def _find_not_finite(model: torch.nn.Module) -> list:
    """List parameters that are not finite, and buffers that have NaN.

    Buffers may be infinite by design, such as masks of attention.
    """
    wrong = [
        name
        for name, value in model.named_parameters()
        if not value.isfinite().all()
    ]
    return wrong + [
        name for name, value in model.named_buffers() if value.isnan().any()
    ]


class _DeferredRemovals:
    """A file backend that removes files only when `remove_now` is called."""

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
    """A runner that writes files to a temporary folder, then moves them."""

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
        """Save a checkpoint to a temporary folder, and move it."""
        save = self.unstaged.save_checkpoint
        if not self._local:
            save(out_dir, filename, *args, **kwargs)
        elif is_main_process():
            with self._explain_errors(os.path.join(out_dir, filename)):
                with whole_files(out_dir) as partial:
                    save(str(partial), filename, *args, **kwargs)

    @contextmanager
    def folder(self, checkpoint):
        """Make `work_dir` a temporary folder; move its files at the end."""
        if not is_main_process():
            yield
            return
        with self._explain_errors(checkpoint):
            with whole_files(self.unstaged.work_dir) as partial:
                self.work_dir = str(partial)
                yield

    @contextmanager
    def _explain_errors(self, path):
        try:
            yield
        except (OSError, ValueError) as error:
            cause = error.__cause__ or error
            if not isinstance(cause, OSError) or hasattr(error, 'explained'):
                raise
            before = (
                f'The one before, {self._last}, is whole'
                if self._last
                else 'There is no checkpoint before it'
            )
            explained = OSError(
                f'The checkpoint {path} could not be written: '
                f'{cause.strerror or cause}. {before}. Make room or name '
                'another `--work-dir`, and run the same command with '
                '`--resume` to continue from it.'
            )
            explained.explained = True
            raise explained from error
