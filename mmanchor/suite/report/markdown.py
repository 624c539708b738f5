"""The suite's report, in Markdown."""

import os
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from .table import Table, to_markdown

# by the start of the file's name
CAPTIONS = {
    'accuracy-by-severity': 'Accuracy by severity of corruption',
    'heat-map': 'Accuracy by kind and severity of the first model, and of '
    'the others the difference from it',
    'reliability': 'Accuracy against confidence, with the share of images by '
    'confidence underneath; of corrupted sets, all images together',
    'ood': 'Anomaly scores of images in and out of distribution, and how '
    'well they tell them apart',
    'spread-and-error': 'Error against the spread of logits over references; '
    'a point is a set, or a kind and severity of one. ρ is the rank '
    'correlation of both (Spearman) over the points, with a 95 % interval as '
    'if they were independent: near 1, images on which references disagree '
    'more are answered less well, so that the spread warns of errors; near 0 '
    'or below, it does not',
}


def report(
    results: dict,
    tables: Sequence[Table],
    figures: Sequence[str | Path],
    folder: str | Path,
) -> str:
    """Put all into one text; see :func:`~.tables.markdown_report`."""
    parts = [f'# Safety suite: {results["suite"]["title"]}']
    parts += map(to_markdown, tables)
    parts += _not_measured(results)
    parts += _figures([Path(path) for path in figures], folder)
    parts += _made_with(results)
    for title, name in (
        ('Conventions', 'conventions'),
        ('Versions', 'versions'),
    ):
        if results.get(name):
            lines = [
                f'- {key}: {one_line(text)}'
                for key, text in results[name].items()
            ]
            parts.append('\n'.join([f'## {title}', '', *lines]))
    return '\n\n'.join(parts) + '\n'


def _not_measured(results: dict) -> list[str]:
    lines = [
        f'- {found["name"]}: {one_line(found["reason"])}'
        for found in results.get('missing') or ()
    ]
    lines += [
        f'- {found["name"]} by {found["model"] or "all"}: '
        f'{one_line(found["reason"])}'
        for found in results.get('failed') or ()
    ]
    return ['\n'.join(['## Not measured', '', *lines])] if lines else []


def _made_with(results: dict) -> list[str]:
    """The command, device and checkpoints, as far as they are known."""
    parts, settings = [], results.get('settings') or {}
    lines = [
        f'- {name}: {one_line(text)}'
        for name, text in (
            (
                'command',
                results.get('command') and f'`{results["command"]}`',
            ),
            ('device', settings.get('device')),
            ('batch size', settings.get('batch_size')),
            ('mixed precision', 'yes' if settings.get('amp') else None),
            ('commit of mmanchor', results.get('commit')),
        )
        if text
    ]
    if lines:
        parts.append('\n'.join(['## How it was made', '', *lines]))
    rows = [
        [
            str(model['name']),
            str(model.get('config')),
            str(model['checkpoint']),
            str(model['sha256']),
        ]
        for model in results['models']
        if model.get('sha256')
    ]
    if rows:
        header = ['model', 'config', 'checkpoint', 'SHA-256']
        parts.append(to_markdown(Table('Checkpoints', '', header, rows, 4)))
    return parts


def _figures(paths: list[Path], folder: str | Path) -> list[str]:
    """Images to look at, each with the same for papers."""
    parts = []
    for path in paths:
        if path.suffix != '.png':
            continue
        caption = next(
            text
            for start, text in CAPTIONS.items()
            if path.name.startswith(start)
        )
        text = f'![{caption}]({_link(path, folder)})'
        text += f'\n\n{caption}'
        if path.with_suffix('.pdf') in paths:
            text += f' ([PDF]({_link(path.with_suffix(".pdf"), folder)}))'
        parts.append(text + '.')
    return ['## Figures', *parts] if parts else []


def _link(path: Path, folder: str | Path) -> str:
    return quote(Path(os.path.relpath(path, folder or '.')).as_posix())


def one_line(text: object) -> str:
    return ' '.join(str(text).split())
