"""Renders an HTML page that needs no other file, for suites and studies."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

from .table import Table

NO_IMAGES = 'This page holds no images of the data.'
_NUMBER = re.compile(r'[+-]?\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?')


class Block(SimpleNamespace):
    """One part of a section: a table, a figure, a list and so on.

    Args:
        kind (str): ``'table'``, ``'figure'``, ``'gallery'``, ``'pairs'``,
            ``'grid'``, ``'matrix'``, ``'facts'`` or ``'list'``.
        title (str): Its heading. Defaults to none.
        caption (str): What readers have to know. Defaults to none.
        **content: What the template shows of this kind.
    """

    def __init__(self, kind: str, title='', caption='', **content):
        super().__init__(kind=kind, title=title, caption=caption, **content)


@dataclass
class Section:
    """A part of a page: a heading, a paragraph if there is one, and blocks."""

    title: str
    blocks: list[Block]
    text: str = ''


@dataclass
class Page:
    """The content of a page: its heading, the main results, all sections."""

    title: str
    summary: list[str]
    sections: list[Section]
    images_note: str = NO_IMAGES


def load_template():
    """Load the template of all pages.

    Raises:
        ImportError: Jinja2 is not installed.
    """
    try:
        from jinja2 import Environment, FileSystemLoader, StrictUndefined
    except ImportError as error:
        raise ImportError(
            'Expected Jinja2, which writes the report as a page, but it is '
            'not installed. Install it with `pip install "mmanchor[eval]"`.'
        ) from error
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        keep_trailing_newline=True,
    )
    environment.filters['sort_value'] = sort_value
    environment.filters['unbroken'] = unbroken
    return environment.get_template('page.html.j2')


def render(page: Page) -> str:
    """Render a page as HTML, with every text escaped.

    Sections without blocks are left out.
    """
    sections = [one for one in page.sections if one.blocks]
    return load_template().render(
        page=Page(page.title, page.summary, sections, page.images_note)
    )


def sort_value(text: str) -> str:
    """Find the number that a table cell is sorted by; empty if it has none.

    Example:
        >>> cells = '1,088.3 [87.6, 89.0] (+13.6)', '−1.5 level', '+0.0', '–'
        >>> list(map(sort_value, cells))
        ['1088.3', '-1.5', '0.0', '']
    """
    match = _NUMBER.search(text.replace('−', '-'))
    return match[0].replace(',', '').lstrip('+') if match else ''


def unbroken(text: str) -> str:
    """Keep an interval, a mean with its deviation and "K = 1" on one line.

    Example:
        >>> unbroken('9.5 ± 0.2 [9.3, 9.7] (+0.1)').split(' ')
        ['9.5\\xa0±\\xa00.2', '[9.3,\\xa09.7]', '(+0.1)']
    """
    text = re.sub(' ([±=]) ', '\u00a0\\1\u00a0', text).replace(' %', '\u00a0%')
    return re.sub(r'\[[^\]]*\]', lambda m: m[0].replace(' ', '\u00a0'), text)


def table_blocks(tables: Sequence[Table | None]) -> list[Block]:
    """Make a block for each table; None is skipped."""
    return [
        Block('table', one.title, one.caption, table=one)
        for one in tables
        if one is not None
    ]


def figure_block(path: str | Path, caption: str) -> Block:
    """Make a block that embeds an SVG file in the page.

    Args:
        caption (str): What the figure shows. Screen readers read it too.
    """
    from markupsafe import Markup, escape

    path = Path(path)
    text = path.read_text(encoding='utf-8')
    text = text[text.index('<svg') :]
    text = re.sub(r'<!--.*?-->|<metadata>.*?</metadata>', '', text, flags=re.S)
    # names of elements must be unique on the page, so each gets a prefix
    prefix = re.sub(r'\W', '-', path.stem) + '-'
    text = re.sub(r'\bid="', f'id="{prefix}', text)
    text = re.sub(r'href="#', f'href="#{prefix}', text)
    text = text.replace('url(#', f'url(#{prefix}')
    width = float(re.search(r'viewBox="0 0 ([\d.]+)', text)[1])
    label = escape(caption)
    text = text.replace(
        '<svg',
        # the style sheet decides how large a point of the figure is shown
        f'<svg role="img" aria-label="{label}" style="--points: {width:g}"',
        1,
    )
    return Block('figure', '', caption, svg=Markup(text))


def facts_block(title: str, facts: Sequence[tuple[str, object]]) -> Block:
    """Make a block of names and values; None is skipped."""
    shown = [
        (key, ' '.join(str(value).split()))
        for key, value in facts
        if value not in (None, '')
    ]
    return Block('facts', title, facts=shown)
