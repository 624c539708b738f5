"""The command ``tools/make_corruptions.py``."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from ...utils.console import progress_bars
from ...utils.locks import only_run
from ..shifts.kinds import IMAGENET_C
from .set_writer import ArraySource, FolderSource, write_corrupted_set


def make_corruptions(
    source: str,
    out: str,
    labels: str | None,
    size: int | None,
    kinds: Sequence[str],
    seed: int,
    workers: int,
    console: Console | None = None,
    settings: str = IMAGENET_C,
) -> None:
    """Corrupt an array or a folder, and show a progress bar.

    ``labels`` is the ``.npy`` file that an array needs, and ``size`` that of
    :class:`~mmanchor.datasets.corruptions.set_writer.FolderSource`. See also
    :func:`~mmanchor.datasets.corruptions.set_writer.write_corrupted_set`.

    Raises:
        FileNotFoundError: ``source`` or ``labels`` does not exist.
        ValueError: An option does not fit the source; another run writes to
            ``out``; ``out`` is not writable; or ``write_corrupted_set``
            refuses the source.
    """
    console = console or Console(emoji=False)
    if not Path(source).exists():
        raise FileNotFoundError(
            'Expected a .npy file of images or a folder with class folders, '
            f'but {source} is not there. Change SOURCE.'
        )
    if Path(source).is_dir():
        if labels:
            raise ValueError(
                'Expected no labels with a folder, whose class folders are '
                f'the labels, but got {labels}. Omit `--labels`.'
            )
        images = FolderSource(source, size)
    else:
        if size or not labels:
            raise ValueError(
                'Expected labels and no size with an array, but got '
                f'labels={labels} and size={size}. Change `--labels` or '
                '`--size`.'
            )
        images = ArraySource(source, labels)
    with only_run(Path(out), 'name another'), progress_bars(console) as bars:
        task = bars.add_task('', total=None)

        def report(kind, done, total):
            bars.update(task, description=kind, completed=done, total=total)

        made = write_corrupted_set(
            images, out, kinds, seed, workers, report, settings
        )
        bars.update(task, visible=False)
    console.print(f'Written: {", ".join(made["written"]) or "nothing"}')
    if made['kept']:
        console.print(f'There already: {", ".join(made["kept"])}')
    console.print(f'Settings: {settings}')
    console.print(f'In: {out}', markup=False, soft_wrap=True)
