"""Reports on backbones as a table, in the terminal and as Markdown."""

import os
from collections.abc import Sequence
from pathlib import Path

import mmengine
import mmpretrain
import torch
from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

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


def summary(reports: Sequence[BackboneReport]) -> str:
    """How many work, how many start exactly, and the worst error."""
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
    """For a terminal of some width; failures are left out."""
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
        name, _, *rest = cells(report)
        table.add_row(*map(escape, (name, *rest)))
    return table


def write_markdown(
    reports: Sequence[BackboneReport], command: str, path: str
) -> None:
    """The table with what it takes to make it again, written at once."""
    lines = [
        '# What anchoring does to a backbone',
        '',
        f'Printed by `{command}`, seed 0, mmanchor {_version()}, with '
        f'MMPretrain {mmpretrain.__version__}, MMEngine '
        f'{mmengine.__version__} and PyTorch '
        f'{torch.__version__.partition("+")[0]}.',
        '',
        '*Warm start*: relative difference between the logits of the anchored '
        "model with a plain model's weights and those of that model. *Loss* "
        'and *masked*: of a training step without and one with masked '
        "references, by the config's own optimizer (its learning rate scaled "
        'down to two images), loss and batch augmentation; distilled heads, '
        'which MMPretrain does not train, with `distillation=False`. *Params* '
        'and *FLOPs* (of a forward pass): what anchoring adds.',
        '',
        f'{summary(reports)}',
        '',
        f'| {" | ".join(COLUMNS)} |',
        f'|{"---|" * len(COLUMNS)}',
    ]
    lines += [
        f'| {" | ".join(cells(report))} |'
        for report in reports
        if report.failure is None
    ]
    lines += [
        f'\nFailed: {report.config}, to {report.failure}'
        for report in reports
        if report.failure is not None
    ]
    partial = Path(f'{path}.partial')
    partial.write_text('\n'.join(lines) + '\n', encoding='utf-8')
    os.replace(partial, path)


def _version() -> str:
    """The version, and the commit where this is a clone."""
    known = commit()
    return __version__ + (f' (commit {known[:7]})' if known else '')


def cells(report: BackboneReport) -> list[str]:
    """One for each of ``COLUMNS``."""

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
