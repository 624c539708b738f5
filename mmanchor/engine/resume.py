"""Resumes interrupted runs, and prepares runs for interruptions."""

import os
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from mmengine.hooks import CheckpointHook
from mmengine.runner import Runner

from ..checkpoints.safe_loading import load_local
from ..checkpoints.verification import check_checkpoint
from ..utils.provenance import program
from .hooks.atomic_checkpoint_hook import (
    INTERRUPTED,
    AtomicCheckpointHook,
    last_checkpoint,
)
from .hooks.stop_on_signal_hook import StopOnSignalHook


def resume_command(
    argv: Sequence[str] | None = None, checkpoint: str | None = None
) -> str:
    """Return the command that resumes a run of ``tools/train.py``.

    Args:
        argv (Sequence[str], optional): The arguments of the run. Defaults to
            None: those of the process.
        checkpoint (str, optional): The checkpoint to resume from. Defaults to
            None: the latest one.

    Example:
        >>> resume_command(['my.py', '--resume', 'a.pth', '--amp'], 'b.pth')
        'python tools/train.py my.py --amp --resume b.pth'
    """
    words = program() if argv is None else ['python', 'tools/train.py']
    arguments, rest = [], list(sys.argv[1:] if argv is None else argv)
    while rest:
        word = rest.pop(0)
        if word == '--resume' and rest and not rest[0].startswith('-'):
            rest.pop(0)
        if word.partition('=')[0] != '--resume':
            arguments.append(word)
    arguments += ['--resume'] + ([checkpoint] if checkpoint else [])
    return shlex.join([*words, *arguments])


def latest_checkpoint(work_dir: str) -> str | None:
    """Find the checkpoint that a run in a work dir resumes from.

    The file ``last_checkpoint`` contains its path. After the work dir was
    moved or copied, that path is wrong or belongs to the original, so a file
    of the same name in the work dir itself comes first. Without
    ``last_checkpoint``, it is the newest complete checkpoint.

    Returns:
        str | None: The path, or None if there is no checkpoint. The path from
        ``last_checkpoint`` is returned even if no such file exists.

    Raises:
        ValueError: There are checkpoints, but all of them are damaged.
    """
    named = last_checkpoint(work_dir)
    if named is not None and '\0' not in named:
        own = os.path.join(work_dir, os.path.basename(named))
        return (
            named if os.path.isfile(named) and not os.path.isfile(own) else own
        )
    newest = newest_complete_checkpoint(work_dir)
    if newest is None and _checkpoints(work_dir):
        raise ValueError(
            f'Expected a whole checkpoint in {work_dir} to resume from, but '
            f'{", ".join(path.name for path in _checkpoints(work_dir))} are '
            'damaged, and `last_checkpoint` names none. Move them away to '
            'start again.'
        )
    return newest


def _checkpoints(folder: str) -> list[Path]:
    return sorted(
        path
        for pattern in ('epoch_*.pth', 'iter_*.pth', INTERRUPTED)
        for path in Path(folder).glob(pattern)
    )


def _age(path: Path) -> tuple:
    """Return a key that sorts checkpoints from the newest to the oldest.

    The iteration in the file comes first, because copying a folder changes
    the times of its files.
    """
    try:
        meta = load_local(str(path), 'meta')['meta']
        return -int(meta['iter']), -os.path.getmtime(path)
    except (KeyError, TypeError, ValueError, NotImplementedError):
        return 1, -os.path.getmtime(path)


def check_resumable(
    path: str, work_dir: str, argv: Sequence[str] | None
) -> None:
    """Raise if a checkpoint is damaged, and name the one before it.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file was cut short or damaged.
    """
    try:
        check_checkpoint(path)
    except (FileNotFoundError, ValueError) as error:
        before = newest_complete_checkpoint(
            os.path.dirname(path) or work_dir, path
        )
        advice = (
            'The checkpoint before it is whole: resume from that with '
            f'`{resume_command(argv, before)}`.'
            if before
            else 'No other checkpoint in its folder is whole: start again, '
            'without `--resume`.'
        )
        raise type(error)(f'{error} {advice}') from error


def newest_complete_checkpoint(folder: str, excluded: str = '') -> str | None:
    """Return the newest checkpoint in a folder that is not damaged."""
    paths = [path for path in _checkpoints(folder) if str(path) != excluded]
    for path in sorted(paths, key=_age):
        try:
            check_checkpoint(str(path))
        except ValueError:
            continue
        return str(path)
    return None


@contextmanager
def fault_tolerance(runner: Runner, command: str) -> Iterator[None]:
    """Let a runner write checkpoints atomically, and save on signals.

    The config does not change, so that MMPretrain's tools can use it too. A
    checkpoint hook of the user's own is not replaced; signals then have their
    usual effect.
    """
    for hook in runner.hooks:
        if type(hook) is CheckpointHook:
            # The subclass adds no state.
            hook.__class__ = AtomicCheckpointHook
    kinds = {type(hook) for hook in runner.hooks}
    if AtomicCheckpointHook in kinds and StopOnSignalHook not in kinds:
        runner.register_hook(StopOnSignalHook(command))
    try:
        yield
    finally:
        for hook in runner.hooks:
            if isinstance(hook, StopOnSignalHook):
                hook.release()
