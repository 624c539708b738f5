"""Going on from what a run left."""

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
    """How to go on with a run of ``tools/train.py``.

    Args:
        argv (Sequence[str], optional): Its arguments. Defaults to None: those
            of the process.
        checkpoint (str, optional): Where from. Defaults to None: the latest.

    Example:
        >>> resume_command(['my.py', '--resume', 'a.pth', '--amp'], 'b.pth')
        'python tools/train.py my.py --amp --resume b.pth'
    """
    words = program() if argv is None else ['python', 'tools/train.py']
    kept, rest = [], list(sys.argv[1:] if argv is None else argv)
    while rest:
        word = rest.pop(0)
        if word == '--resume' and rest and not rest[0].startswith('-'):
            rest.pop(0)
        if word.partition('=')[0] != '--resume':
            kept.append(word)
    kept += ['--resume'] + ([checkpoint] if checkpoint else [])
    return shlex.join([*words, *kept])


def latest_checkpoint(work_dir: str) -> str | None:
    """What a run in a work dir goes on from.

    ``last_checkpoint`` names it, by a path that is wrong in a work dir that
    was moved, and that of the original in one that was copied: a file of that
    name in the work dir itself comes first. Where no checkpoint is named, it
    is the newest whole one that is there.

    Args:
        work_dir (str): Of the run.

    Returns:
        str | None: None where there is no checkpoint. What is named is
        returned even if it is not there.

    Raises:
        ValueError: There are checkpoints, and none of them is whole.
    """
    named = last_checkpoint(work_dir)
    if named is not None and '\0' not in named:
        own = os.path.join(work_dir, os.path.basename(named))
        return (
            named if os.path.isfile(named) and not os.path.isfile(own) else own
        )
    newest = newest_whole(work_dir)
    if newest is None and _checkpoints(work_dir):
        raise ValueError(
            f'Expected a whole checkpoint in {work_dir} to go on from, but '
            f'{", ".join(path.name for path in _checkpoints(work_dir))} are '
            'damaged, and `last_checkpoint` names none. Move them away to '
            'start anew.'
        )
    return newest


def _checkpoints(folder: str) -> list[Path]:
    return sorted(
        path
        for pattern in ('epoch_*.pth', 'iter_*.pth', INTERRUPTED)
        for path in Path(folder).glob(pattern)
    )


def _age(path: Path) -> tuple:
    """What sorts checkpoints from the newest on.

    Times of files are those of copying where a folder was copied, in any
    order; the iteration is in the file.
    """
    try:
        meta = load_local(str(path), 'meta')['meta']
        return -int(meta['iter']), -os.path.getmtime(path)
    except (KeyError, TypeError, ValueError, NotImplementedError):
        return 1, -os.path.getmtime(path)


def check_resumable(
    path: str, work_dir: str, argv: Sequence[str] | None
) -> None:
    """Refuse a checkpoint that is not whole, and name the one before it.

    Args:
        path (str): To resume from.
        work_dir (str): Where others may be.
        argv (Sequence[str], optional): See :func:`resume_command`.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It was cut short or damaged.
    """
    try:
        check_checkpoint(path)
    except (FileNotFoundError, ValueError) as error:
        before = newest_whole(os.path.dirname(path) or work_dir, path)
        advice = (
            f'The one before is whole: go on from it with `'
            f'{resume_command(argv, before)}`.'
            if before
            else 'No other in its folder is whole: start anew, without '
            '`--resume`.'
        )
        raise type(error)(f'{error} {advice}') from error


def newest_whole(folder: str, but: str = '') -> str | None:
    """The newest checkpoint in a folder that a run can go on from.

    Args:
        folder (str): Where to look.
        but (str): Which to leave out.

    Returns:
        str | None: None where there is none.
    """
    found = [path for path in _checkpoints(folder) if str(path) != but]
    for path in sorted(found, key=_age):
        try:
            check_checkpoint(str(path))
        except ValueError:
            continue
        return str(path)
    return None


@contextmanager
def surviving_faults(runner: Runner, command: str) -> Iterator[None]:
    """Let a runner write checkpoints atomically, and heed signals.

    Its config stays as it is, so that it is one for the host's tools, too. A
    checkpoint hook of the user's own stays, and then signals do what they
    always did.

    Args:
        runner (Runner): Before it trains.
        command (str): How to go on after a signal.
    """
    for hook in runner.hooks:
        if type(hook) is CheckpointHook:
            hook.__class__ = AtomicCheckpointHook  # it adds no state
    kinds = {type(hook) for hook in runner.hooks}
    if AtomicCheckpointHook in kinds and StopOnSignalHook not in kinds:
        runner.register_hook(StopOnSignalHook(command))
    try:
        yield
    finally:
        for hook in runner.hooks:
            if isinstance(hook, StopOnSignalHook):
                hook.release()
