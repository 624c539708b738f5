"""Tables of text, rendered for the terminal or as Markdown."""

import re
from dataclasses import dataclass

from rich import table as rich_table
from rich.box import SIMPLE_HEAD
from rich.text import Text

from ..results import Point, SuiteResults

# the widest lines of the names of rows and of columns in the terminal
NAME_WIDTH, HEADER_WIDTH = 26, 16


@dataclass
class Table:
    """A table of text, whose first ``num_names`` columns name the row."""

    title: str
    caption: str
    header: list[str]
    rows: list[list[str]]
    num_names: int = 1

    def is_empty(self) -> bool:
        """Whether all cells but the names are dashes."""
        return all(
            cell == '–' for row in self.rows for cell in row[self.num_names :]
        )


def number(value: float | None, digits: int = 1) -> str:
    """Format a number, with a dash for None.

    Example:
        >>> number(88.349), number(None)
        ('88.3', '–')
    """
    return '–' if value is None else minus(f'{value:.{digits}f}')


def with_interval(
    value: float | None,
    interval: tuple[float, float] | None,
    digits: int = 1,
) -> str:
    """Format a number, with its confidence interval in brackets.

    Example:
        >>> with_interval(88.3, (87.6, 89.0)), with_interval(88.3, None)
        ('88.3 [87.6, 89.0]', '88.3')
    """
    text = number(value, digits)
    if value is None or interval is None:
        return text
    low, high = (number(end, digits) for end in interval)
    return f'{text} [{low}, {high}]'


def metric_text(
    results: SuiteResults,
    model: str,
    point: Point,
    metric: str,
    digits: int,
    intervals: bool,
    scale: float = 1,
) -> str:
    """Format a value times ``scale``, with its interval if that is wanted."""
    value = results.value(model, point, metric)
    ends = results.interval(model, point, metric) if intervals else None
    return with_interval(
        None if value is None else scale * value,
        ends and (scale * ends[0], scale * ends[1]),
        digits,
    )


def signed(value: float) -> str:
    """Format a difference with its sign, without negative zeros.

    Example:
        >>> signed(-13.64), signed(-0.01)
        ('−13.6', '+0.0')
    """
    text = minus(f'{value:+.1f}')
    return '+0.0' if text == '−0.0' else text


def minus(text: str) -> str:
    """Replace hyphens by minus signs, which are as wide as a plus."""
    return text.replace('-', '−')


def to_markdown(table: Table) -> str:
    """Render a table as Markdown, with a heading and the caption."""
    ruler = ['---'] * table.num_names + ['---:'] * (
        len(table.header) - table.num_names
    )
    lines = [
        '| ' + ' | '.join(map(_cell, row)) + ' |'
        for row in (table.header, ruler, *table.rows)
    ]
    caption = [table.caption, ''] if table.caption else []
    return '\n'.join([f'## {_cell(table.title)}', '', *caption, *lines])


def one_line(text: object) -> str:
    """Replace line breaks and repeated spaces by single spaces."""
    return ' '.join(str(text).split())


def _cell(text: str) -> str:
    return one_line(text).replace('|', '\\|')


def to_rich(table: Table, width: int = 80) -> list[rich_table.Table]:
    """Render a table for the terminal; split it if it is too wide.

    Each part has the names of the rows.
    """
    names = range(table.num_names)
    columns = [
        [wrap(title, HEADER_WIDTH)]
        + [
            wrap(row[i], NAME_WIDTH) if i in names else row[i]
            for row in table.rows
        ]
        for i, title in enumerate(table.header)
    ]
    widths = [
        max(len(line) for cell in column for line in cell.split('\n')) + 2
        for column in columns
    ]
    parts: list[list[int]] = [[]]
    left = room = width - sum(widths[i] for i in names)
    for i in range(table.num_names, len(columns)):
        if widths[i] > left and parts[-1]:
            parts.append([])
            left = room
        parts[-1].append(i)
        left -= widths[i]
    return [
        _rich_part([columns[i] for i in (*names, *part)], table, i > 0)
        for i, part in enumerate(parts)
    ]


def _rich_part(
    columns: list[list[str]], table: Table, continued: bool
) -> rich_table.Table:
    title = f'{table.title} (continued)' if continued else table.title
    caption = None if continued else table.caption
    shown = rich_table.Table(
        title=Text(title),
        caption=Text(f'{caption}\n') if caption else None,
        title_justify='left',
        caption_justify='left',
        box=SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
    )
    for i, (title, *_) in enumerate(columns):
        shown.add_column(
            Text(title),
            justify='left' if i < table.num_names else 'right',
            vertical='bottom',
            no_wrap=True,
        )
    above = ''
    for name, *row in list(zip(*columns))[1:]:
        repeats = table.num_names > 1 and name == above
        shown.add_row('' if repeats else Text(name), *map(Text, row))
        above = name
    return shown


def wrap(text: str, width: int) -> str:
    """Break a name into lines, at spaces or after hyphens and underscores.

    Example:
        >>> wrap('my set_of_kinds', 10).split('\\n')
        ['my set_of_', 'kinds']
        >>> wrap('anchored, K = 10', 10).split('\\n')
        ['anchored,', 'K = 10']
        >>> wrap('abcdefghijkl', 10).split('\\n')
        ['abcdefghij', 'kl']
    """
    lines = ['']
    # never break K = 10
    for word in re.split(r'(?<!=)\s+(?!=)', text.strip()):
        for i, piece in enumerate(_pieces(word, width)):
            space = ' ' if lines[-1] and i == 0 else ''
            if len(lines[-1] + space + piece) <= width:
                lines[-1] += space + piece
            else:
                lines.append(piece)
    return '\n'.join(lines).strip()


def _pieces(word: str, width: int) -> list[str]:
    """Split a word that is longer than a line."""
    if len(word) <= width:
        return [word]
    return [
        part[i : i + width]
        for part in re.split('(?<=[-_])', word)
        for i in range(0, len(part), width)
    ]
