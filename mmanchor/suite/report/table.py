"""Tables between the results and the form they are shown in."""

import re
from dataclasses import dataclass

from rich import table as rich_table
from rich.box import SIMPLE_HEAD
from rich.text import Text

NAME, HEADER = 26, 16  # widest lines of a row's and of a column's name


@dataclass
class Table:
    """Texts in rows.

    Args:
        title (str): What is shown.
        caption (str): What has to be known to read it.
        header (List[str]): One for each column.
        rows (List[List[str]]): As many texts each as the header has.
        num_names (int): Columns, from the left, that name the row.
            Defaults to 1.
    """

    title: str
    caption: str
    header: list[str]
    rows: list[list[str]]
    num_names: int = 1

    def is_empty(self) -> bool:
        """Whether there is nothing but names."""
        return all(
            cell == '–' for row in self.rows for cell in row[self.num_names :]
        )


def number(value: float | None, digits: int = 1) -> str:
    """A number to read, a dash for none.

    Example:
        >>> number(88.349), number(None)
        ('88.3', '–')
    """
    return '–' if value is None else f'{value:.{digits}f}'


def with_interval(
    value: float | None,
    interval: tuple[float, float] | None,
    digits: int = 1,
) -> str:
    """A number and, in brackets, its confidence interval, if it has one.

    Example:
        >>> with_interval(88.3, (87.6, 89.0)), with_interval(88.3, None)
        ('88.3 [87.6, 89.0]', '88.3')
    """
    text = number(value, digits)
    if value is None or interval is None:
        return text
    low, high = (number(end, digits) for end in interval)
    return f'{text} [{low}, {high}]'


def with_difference(
    value: float | None,
    base: float | None,
    interval: tuple[float, float] | None = None,
) -> str:
    """A number and, in parentheses, how far it is from another.

    Example:
        >>> with_difference(88.3, 74.7), with_difference(88.3, None)
        ('88.3 (+13.6)', '88.3')
    """
    text = with_interval(value, interval)
    if value is None or base is None:
        return text
    return f'{text} ({signed(value - base)})'


def signed(value: float) -> str:
    """A difference to read, without negative zeros.

    Example:
        >>> signed(-13.64), signed(-0.01)
        ('-13.6', '+0.0')
    """
    text = f'{value:+.1f}'
    return '+0.0' if text == '-0.0' else text


def to_markdown(table: Table) -> str:
    """A heading, the caption, and the table."""
    ruler = ['---'] * table.num_names + ['---:'] * (
        len(table.header) - table.num_names
    )
    lines = [
        '| ' + ' | '.join(map(_one_line, row)) + ' |'
        for row in (table.header, ruler, *table.rows)
    ]
    caption = [table.caption, ''] if table.caption else []
    return '\n'.join([f'## {_one_line(table.title)}', '', *caption, *lines])


def _one_line(text: str) -> str:
    return ' '.join(text.split()).replace('|', '\\|')


def to_rich(table: Table, width: int = 80) -> list[rich_table.Table]:
    """A table for the terminal, or several if it is too wide for one.

    Args:
        table (Table): Any.
        width (int): Of the terminal. Defaults to 80.

    Returns:
        List[rich.table.Table]: Each with the names of the rows.
    """
    names = range(table.num_names)
    columns = [
        [wrap(title, HEADER)]
        + [wrap(row[i], NAME) if i in names else row[i] for row in table.rows]
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
        _rich_part(
            [columns[i] for i in (*names, *part)], table, part is parts[0]
        )
        for part in parts
    ]


def _rich_part(
    columns: list[list[str]], table: Table, first: bool
) -> rich_table.Table:
    shown = rich_table.Table(
        title=Text(table.title if first else f'{table.title} (continued)'),
        caption=Text(f'{table.caption}\n')
        if first and table.caption
        else None,
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
    """Break a name at spaces, or else behind hyphens and underscores.

    Example:
        >>> wrap('my set_of_kinds', 10).split('\\n')
        ['my set_of_', 'kinds']
    """
    lines = ['']
    for word in re.split(r'(?<!=)\s+(?!=)', text.strip()):  # not K = 10
        for i, piece in enumerate(_pieces(word, width)):
            space = ' ' if lines[-1] and i == 0 else ''
            if len(lines[-1] + space + piece) <= width:
                lines[-1] += space + piece
            else:
                lines.append(piece)
    return '\n'.join(lines).strip()


def _pieces(word: str, width: int) -> list[str]:
    """A word, or what it may be broken into."""
    if len(word) <= width:
        return [word]
    return [
        part[i : i + width]
        for part in re.split('(?<=[-_])', word)
        for i in range(0, len(part), width)
    ]
