"""Check that a config can be anchored: ``tools/check_backbone.py CONFIG``.

On images of noise, each model is anchored, warm-started from the weights of a
plain model, trained for one step with masked references and one without,
saved, loaded and tested.
"""

import argparse
import sys

from rich.console import Console
from rich.markup import escape
from rich.progress import track

from mmanchor.diagnostics.backbone_check import check_backbone
from mmanchor.diagnostics.backbone_matrix import (
    HOST_CONFIGS,
    MATRIX,
    MatrixEntry,
)
from mmanchor.diagnostics.backbone_table import (
    summarise,
    terminal_table,
    write_markdown,
)
from mmanchor.engine.cli import add_cfg_options, import_from_here
from mmanchor.utils.files import user_path
from mmanchor.utils.provenance import command_line


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description='Check that configs can be anchored.'
    )
    parser.add_argument(
        'configs',
        type=user_path,
        nargs='*',
        metavar='CONFIG',
        help='plain configs, which are anchored, or anchored ones; '
        'mmpretrain::FOLDER/NAME.py for one of MMPretrain',
    )
    parser.add_argument(
        '--all',
        action='store_true',
        help="check every backbone of MMPretrain's supervised configs",
    )
    parser.add_argument(
        '--size', type=int, help="of the images; the config's by default"
    )
    add_cfg_options(parser)
    parser.add_argument(
        '--out',
        type=user_path,
        metavar='FILE.md',
        help='file to write the table to',
    )
    return parser


def main() -> int:
    parser = make_parser()
    args = parser.parse_args()
    if args.all == bool(args.configs):
        parser.error('expected either configs or --all')
    import_from_here()
    console = Console(emoji=False)
    if args.all:
        entries = MATRIX.values()
    else:
        entries = [MatrixEntry(path) for path in args.configs]
    reports = []
    for entry in track(list(entries), 'checking', console=console):
        report = check_backbone(
            HOST_CONFIGS / entry.config if args.all else entry.config,
            args.size or entry.size,
            options={**(entry.options or {}), **(args.cfg_options or {})},
        )
        reports.append(report)
        name = report.backbone or entry.config
        if report.failure is None:
            console.print(f'{escape(name)}: [green]works[/]', soft_wrap=True)
        else:
            console.print(f'{escape(name)}: [red]failed[/] to', end=' ')
            console.print(report.failure, markup=False, soft_wrap=True)
        if report.imports and 'mmanchor' not in report.imports:
            console.print(
                'Keep what the config imports: custom_imports = dict(imports='
                f'{[*report.imports, "mmanchor"]}, '
                'allow_failed_imports=False)',
                markup=False,
                soft_wrap=True,
            )
    if any(report.failure is None for report in reports):
        console.print(terminal_table(reports, console.width))
    console.print(summarise(reports), soft_wrap=True)
    if args.out:
        command = command_line()
        write_markdown(reports, command, args.out)
    return any(report.failure for report in reports)


if __name__ == '__main__':
    sys.exit(main())
