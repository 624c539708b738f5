"""Tables of backbone reports, for the terminal and in Markdown."""

from collections.abc import Sequence
from pathlib import Path

import mmengine
import mmpretrain
import torch
from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from ..utils.files import whole_files
from ..utils.provenance import commit
from ..version import __version__
from .backbone_check import BackboneReport

COLUMNS = (
    'backbone',
    'config',
    'layers widened',
    'warm start',
    'loss',
    'masked',
    'params',
    'FLOPs',
)


# title and first paragraph of a page
HOST_INTRO = (
    'What anchoring does to a backbone',
    'Distilled heads, which MMPretrain does not train, have '
    '`distillation=False`.',
)


def summarise(reports: Sequence[BackboneReport]) -> str:
    """Count the backbones that work, and give the worst warm-start error."""
    works = [r for r in reports if r.failure is None]
    errors = [
        r.warm_start_error for r in works if r.warm_start_error is not None
    ]
    text = (
        f'{len(works)} of {len(reports)} train, {len(errors)} of '
        f'{len(reports)} warm-start exactly'
    )
    if errors:
        text += (
            f' (worst relative error {max(errors):.1e}, '
            f'{sum(e < 1e-5 for e in errors)} below 1e-5)'
        )
    return text + '.'


def terminal_table(
    reports: Sequence[BackboneReport], width: int = 80
) -> Table:
    """Make a table for a terminal of some width, without failures."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for column in COLUMNS:
        if column == 'config':
            continue
        is_text = column in ('backbone', 'layers widened')
        table.add_column(
            column.replace(' s', '\ns'),
            justify='left' if is_text else 'right',
            max_width=(width - 46) // 2 if is_text else None,
            no_wrap=True,
        )
    for report in (r for r in reports if r.failure is None):
        name, _, *rest = table_row(report)
        table.add_row(*map(escape, (name, *rest)))
    return table


def write_markdown(
    reports: Sequence[BackboneReport],
    command: str,
    path: str,
    title: str = HOST_INTRO[0],
    about: str = HOST_INTRO[1],
) -> None:
    """Write the table, its legend and the command that makes it.

    Args:
        reports (Sequence[BackboneReport]): A row each; those of failures are
            listed below.
        command (str): That makes the page.
        path (str): Of the page.
        title (str): Its title. Defaults to that of the host's backbones.
        about (str): What there is to know about the configs.
    """
    lines = [
        f'# {title}',
        '',
        f'Printed by `{command}`, seed 0, mmanchor {_version()}, with '
        f'MMPretrain {mmpretrain.__version__}, MMEngine '
        f'{mmengine.__version__} and PyTorch '
        f'{torch.__version__.partition("+")[0]}.',
        '',
        '*Warm start* is the relative difference between the logits of a '
        'plain model and of the anchored model that loaded its weights. '
        '*Loss* and '
        '*masked* are the losses of a training step without and with masked '
        "references, with the config's own optimizer (its learning rate "
        f'scaled down to two images), loss and batch augmentation. {about} '
        '*Params* and *FLOPs* (of a forward pass) are what anchoring adds.',
        '',
        f'{summarise(reports)}',
        '',
        f'| {" | ".join(COLUMNS)} |',
        f'|{"---|" * len(COLUMNS)}',
    ]
    lines += [
        f'| {" | ".join(table_row(report))} |'
        for report in reports
        if report.failure is None
    ]
    lines += [
        f'\nFailed: {report.config}, to {report.failure}'
        for report in reports
        if report.failure is not None
    ]
    with whole_files(Path(path).parent) as partial:
        file = partial / Path(path).name
        file.write_text('\n'.join(lines) + '\n', encoding='utf-8')


def _version() -> str:
    """Get the version, and the commit if this is a clone."""
    known = commit()
    return __version__ + (f' (commit {known[:7]})' if known else '')


def table_row(report: BackboneReport) -> list[str]:
    """Format a report as one text for each of ``COLUMNS``."""

    def number(value, form, otherwise='–'):
        return otherwise if value is None else format(value, form)

    return [
        report.backbone,
        '/'.join(Path(report.config).parts[-2:]),
        ', '.join(report.stem) or 'built for 2C channels',
        number(report.warm_start_error, '.1e', 'refused'),
        number(report.losses[0.0], '.2f'),
        number(report.losses[1.0], '.2f'),
        number(report.extra_parameters, '+.3f') + ' %',
        number(report.extra_flops, '+.2f') + ' %',
    ]
