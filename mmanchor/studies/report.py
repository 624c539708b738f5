"""What a study leaves behind: JSON, tables, a page and figures."""

import json
from collections.abc import Sequence
from pathlib import Path

from matplotlib import style
from rich.console import Console
from rich.markup import escape

from ..suite.report.drawing import METADATA
from ..suite.report.figure_style import STYLE
from ..suite.report.html import render
from ..suite.report.table import to_rich
from ..utils.files import whole_files
from .difference_figure import difference_figure
from .figures import study_figure
from .page import study_page
from .tables import (
    csv_text,
    difference_table,
    markdown_report,
    study_table,
    told,
)
from .verdict import verdict_table


def write_report(
    results: dict, plot, folder: Path, others: Sequence[dict] = ()
) -> None:
    """Write ``results.json``, ``results.csv``, the report and figures.

    Args:
        results (dict): What ``results.json`` is to have.
        plot (Plot): How it is drawn.
        folder (Path): Where to.
        others (Sequence[dict]): Results of the study on other grounds, which
            recommended settings have to hold on. Defaults to none.

    Raises:
        ImportError: Jinja2 is not installed.
        ValueError: The folder can't be written to.
    """
    with style.context(['default', STYLE]):
        figures = {
            results['study']: study_figure(results, plot),
            f'{results["study"]}_differences': difference_figure(
                results, plot.metrics
            ),
        }
        with whole_files(folder) as partial:
            names = []
            for name, figure in figures.items():
                if figure is None:
                    continue
                figure.draw_without_rendering()
                figure.set_layout_engine('none')  # once is enough
                for ending, metadata in METADATA.items():
                    figure.savefig(
                        partial / f'{name}.{ending}', metadata=metadata
                    )
                names.append(f'{name}.png')
            (partial / 'results.json').write_text(
                json.dumps(results, indent=1, ensure_ascii=False) + '\n',
                encoding='utf-8',
            )
            (partial / 'results.csv').write_text(
                csv_text(results), encoding='utf-8'
            )
            (partial / 'report.md').write_text(
                markdown_report(
                    results, names, verdict_table(results, others)
                ),
                encoding='utf-8',
            )
            drawn = [(partial / name).with_suffix('.svg') for name in names]
            (partial / 'report.html').write_text(
                render(study_page(results, drawn, others)), encoding='utf-8'
            )


def print_report(
    results: dict, folder: Path, console: Console, others: Sequence[dict] = ()
) -> None:
    """Print the tables, and what is not there."""
    for table in (
        study_table(results),
        difference_table(results),
        verdict_table(results, others),
    ):
        if table is not None:
            for part in to_rich(table, console.width):
                console.print(part)
    for one in results['missing']:
        console.print(escape(f'Not there: {told(one)}'), soft_wrap=True)
    console.print(escape(f'Report: {folder / "report.html"}'), soft_wrap=True)
