"""Tables of backbone reports, for the terminal and in Markdown."""

import textwrap
from collections.abc import Mapping, Sequence
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

# column -> its line in the legend of a page
LEGEND = {
    'backbone': 'the class of the backbone in MMPretrain.',
    'config': 'the config that was checked.',
    'layers widened': 'the layers that read the image. They get 2C input '
    'channels instead of C. *Built for 2C channels*: no layer could be '
    'widened, so the backbone was built with 2C input channels.',
    'exact start': 'the relative difference between the logits of a plain '
    'model and of the anchored model that loaded its weights. *Refused*: '
    "plain weights don't fit a backbone that was built for 2C channels.",
    'loss': 'the loss of a training step without masked references, with '
    "the config's own optimizer, loss and batch augmentation. The learning "
    'rate is scaled down to a batch of two images.',
    'masked': 'the same with masked references.',
    'params': 'the parameters that anchoring adds, in % of the plain '
    "model's; – where they were not counted.",
    'FLOPs': 'the same of the operations of a forward pass.',
}
COLUMNS = tuple(LEGEND)


# title of a page, and the legend lines that differ from `LEGEND`
HOST_INTRO = (
    'What anchoring does to a backbone',
    {
        'config': 'its config in MMPretrain. Distilled heads, which '
        'MMPretrain does not train, have `distillation=False`.',
    },
)


def summarise(reports: Sequence[BackboneReport]) -> str:
    """Count the backbones that work, with the worst error of a start."""
    works = [r for r in reports if r.failure is None]
    errors = [
        r.warm_start_error for r in works if r.warm_start_error is not None
    ]
    text = (
        f'{len(works)} of {len(reports)} train, {len(errors)} of '
        f'{len(reports)} start exactly'
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
    legend: Mapping[str, str] = HOST_INTRO[1],
) -> None:
    """Write the summary, a legend, the table, failures and provenance.

    Args:
        reports (Sequence[BackboneReport]): One row each; those of failures
            are listed below the table.
        command (str): The command that makes the page.
        path (str): The path of the page.
        title (str): Its title. Defaults to that of the host's backbones.
        legend (Mapping[str, str]): The lines of the legend that differ from
            ``LEGEND``. Defaults to those of the host's backbones.
    """
    lines = [
        f'# {title}',
        '',
        summarise(reports),
        '',
        *(
            f'- *{column[:1].upper()}{column[1:]}*: {text}'
            for column, text in {**LEGEND, **legend}.items()
        ),
        '',
        f'| {" | ".join(COLUMNS)} |',
        f'|{"---|" * len(COLUMNS)}',
    ]
    failures = []
    for report in reports:
        if report.failure is None:
            lines.append(f'| {" | ".join(table_row(report))} |')
        else:
            text = f'Failed: {report.config}, to {report.failure}'
            failures += ['', text]
    known = commit()
    version = __version__ + (f' (commit {known[:7]})' if known else '')
    lines += [
        *failures,
        '',
        f'Printed by `{command}`, seed 0, mmanchor {version}, with '
        f'MMPretrain {mmpretrain.__version__}, MMEngine '
        f'{mmengine.__version__} and PyTorch '
        f'{torch.__version__.partition("+")[0]}.',
    ]
    wrapper = textwrap.TextWrapper(
        160, break_long_words=False, break_on_hyphens=False
    )
    for i, line in enumerate(lines):
        wrapper.subsequent_indent = '  ' * line.startswith('- ')
        if not line.startswith('|'):
            lines[i] = wrapper.fill(line)
    with whole_files(Path(path).parent) as partial:
        file = partial / Path(path).name
        file.write_text('\n'.join(lines) + '\n', encoding='utf-8')


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
