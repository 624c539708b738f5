"""Check that a config can be anchored: ``tools/check_backbone.py CONFIG``.

Each is anchored, warm-started from a plain model's weights, trained for a
step with masked references and one without, saved, loaded and tried, on noise.
"""

import argparse
import sys

from rich.console import Console
from rich.markup import escape
from rich.progress import track

import mmanchor.diagnostics.backbone_check as checking
import mmanchor.diagnostics.backbone_matrix as matrix
import mmanchor.diagnostics.backbone_table as table
import mmanchor.diagnostics.timm_matrix as timm_matrix
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
        help='plain configs, which get the four lines, or anchored ones; '
        'mmpretrain::FOLDER/NAME.py for one of MMPretrain',
    )
    parser.add_argument(
        '--all',
        action='store_true',
        help="every backbone of MMPretrain's supervised configs",
    )
    parser.add_argument(
        '--timm',
        action='store_true',
        help='a small model of every family of timm, if it is installed',
    )
    parser.add_argument(
        '--size', type=int, help="of the images; the config's by default"
    )
    add_cfg_options(parser)
    parser.add_argument(
        '--out', type=user_path, metavar='FILE.md', help='write the table'
    )
    return parser


def main() -> int:
    parser = make_parser()
    args = parser.parse_args()
    if args.all + args.timm + bool(args.configs) != 1:
        parser.error('expected either configs, --all or --timm')
    if args.timm and (args.size or args.cfg_options):
        parser.error(
            'expected no --size and no --cfg-options with --timm, whose '
            'models have a size each; name a config with a TIMMBackbone to '
            'change one'
        )
    import_from_here()
    console = Console(emoji=False)
    entries: list
    if args.timm:
        entries = list(timm_matrix.TIMM_MATRIX)
    elif args.all:
        entries = list(matrix.MATRIX.values())
    else:
        entries = [matrix.MatrixEntry(path) for path in args.configs]
    reports = []
    for entry in track(entries, 'checking', console=console):
        if args.timm:
            report = timm_matrix.check_timm_family(entry)
        else:
            report = checking.check_backbone(
                matrix.HOST_CONFIGS / entry.config
                if args.all
                else entry.config,
                args.size or entry.size,
                options={**(entry.options or {}), **(args.cfg_options or {})},
            )
        reports.append(report)
        name = report.backbone or report.config
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
        console.print(table.terminal_table(reports, console.width))
    console.print(table.summarise(reports), soft_wrap=True)
    if args.out:
        command = command_line()
        intro = timm_matrix.introduction() if args.timm else table.HOST_INTRO
        table.write_markdown(reports, command, args.out, *intro)
    return any(report.failure for report in reports)


if __name__ == '__main__':
    sys.exit(main())
