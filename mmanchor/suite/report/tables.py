"""The tables of the safety suite, for the terminal, Markdown and CSV."""

from rich import table as rich_table

from .accuracy_tables import (
    accuracy_table,
    kind_tables,
    reference_tables,
    severity_tables,
)
from .calibration_tables import calibration_tables, temperature_table
from .decision_tables import decision_tables
from .long_csv import csv_text
from .markdown import report
from .ood_tables import ood_tables
from .table import Table, to_rich

__all__ = ['all_tables', 'csv_text', 'markdown_report', 'terminal_tables']


def all_tables(results: dict, intervals: bool = False) -> list[Table]:
    """Every table that has something in it.

    Args:
        results (dict): See ``results.json``.
        intervals (bool): Whether to show confidence intervals, for which
            terminals are too narrow. Defaults to False.
    """
    tables = [
        accuracy_table(results, intervals),
        *severity_tables(results, intervals),
        *calibration_tables(results, intervals),
        temperature_table(results),
        *decision_tables(results, intervals),
        *ood_tables(results, intervals),
        *reference_tables(results, intervals),
    ]
    return [table for table in tables if not table.is_empty()]


def terminal_tables(results: dict, width: int = 80) -> list[rich_table.Table]:
    """The tables to print; wide ones are split.

    Args:
        results (dict): See ``results.json``.
        width (int): Of the terminal. Defaults to 80.
    """
    return [
        part for table in all_tables(results) for part in to_rich(table, width)
    ]


def markdown_report(results: dict, figures, folder='') -> str:
    """All tables, what could not be measured, and the figures.

    Args:
        results (dict): See ``results.json``.
        figures (Sequence[str | Path]): Files, as
            :func:`~.drawing.draw_all` returns them.
        folder (str | Path): The report's, which links start from. Defaults
            to the one that the figures' paths are relative to.
    """
    return report(
        results,
        all_tables(results, True) + kind_tables(results, True),
        figures,
        folder,
    )
