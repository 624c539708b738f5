"""One HTML file that holds everything it shows, of a suite or of a study."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .table import Table

NO_IMAGES = 'This page holds no images of the data.'
_NUMBER = re.compile(r'[+-]?\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?')


@dataclass
class Block:
    """One part of a section.

    Args:
        kind (str): ``'table'``, ``'figure'``, ``'gallery'``, ``'pairs'``,
            ``'grid'``, ``'matrix'``, ``'facts'`` or ``'list'``.
        title (str): Its heading. Defaults to none.
        caption (str): What has to be known to read it. Defaults to none.
        content (dict): What the template shows, by the kind.
    """

    kind: str
    title: str = ''
    caption: str = ''
    content: dict = field(default_factory=dict)

    def __getattr__(self, name: str):
        try:
            return self.__dict__['content'][name]
        except KeyError:
            raise AttributeError(name) from None


@dataclass
class Section:
    """A part of a page with a heading of its own.

    Args:
        title (str): The heading.
        blocks (List[Block]): What is in it.
        text (str): A paragraph before them. Defaults to none.
    """

    title: str
    blocks: list[Block]
    text: str = ''


@dataclass
class Page:
    """What a page shows.

    Args:
        title (str): The heading.
        summary (List[str]): Sentences that say what was found.
        sections (List[Section]): In order.
        images_note (str): Which images of the data the page holds. Defaults
            to ``NO_IMAGES``.
    """

    title: str
    summary: list[str]
    sections: list[Section]
    images_note: str = NO_IMAGES


def load_template():
    """The template of all pages.

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
    return environment.get_template('page.html.j2')


def render(page: Page) -> str:
    """The page as HTML, with every text escaped.

    Args:
        page (Page): What it shows.

    Raises:
        ImportError: Jinja2 is not installed.
    """
    sections = [one for one in page.sections if one.blocks]
    return load_template().render(
        page=Page(page.title, page.summary, sections, page.images_note)
    )


def sort_value(text: str) -> str:
    """The number that a cell of a table is sorted by, empty if it has none.

    Example:
        >>> sort_value('1,088.3 [87.6, 89.0] (+13.6)'), sort_value('–')
        ('1088.3', '')
    """
    found = _NUMBER.search(text.replace('−', '-'))
    return found[0].replace(',', '').lstrip('+') if found else ''


def table_blocks(tables: Sequence[Table | None]) -> list[Block]:
    """Tables with their titles and captions.

    Args:
        tables (Sequence[Table | None]): None is left out.
    """
    return [
        Block('table', one.title, one.caption, dict(table=one))
        for one in tables
        if one is not None
    ]


def figure_block(path: str | Path, caption: str) -> Block:
    """A figure that was saved as SVG, as a part of the page itself.

    Args:
        path (str | Path): The file.
        caption (str): What the figure shows, also for screen readers.

    Raises:
        ImportError: Jinja2 is not installed.
    """
    from markupsafe import Markup, escape

    path = Path(path)
    text = path.read_text(encoding='utf-8')
    text = text[text.index('<svg') :]
    text = re.sub(r'<!--.*?-->|<metadata>.*?</metadata>', '', text, flags=re.S)
    # several figures on one page must not share names
    prefix = re.sub(r'\W', '-', path.stem) + '-'
    text = re.sub(r'\bid="', f'id="{prefix}', text)
    text = re.sub(r'href="#', f'href="#{prefix}', text)
    text = text.replace('url(#', f'url(#{prefix}')
    width = float(re.search(r'viewBox="0 0 ([\d.]+)', text)[1])
    label = escape(caption)
    text = text.replace(
        '<svg',
        f'<svg role="img" aria-label="{label}" '
        # on phones figures scroll rather than shrink to what nobody can read
        f'style="max-width: {1.6 * width:.0f}px; '
        f'min-width: {1.2 * width:.0f}px"',
        1,
    )
    return Block('figure', '', caption, dict(svg=Markup(text)))


def facts_block(title: str, facts: Sequence[tuple[str, object]]) -> Block:
    """Names and what they stand for; what is None is left out."""
    shown = [
        (key, ' '.join(str(value).split()))
        for key, value in facts
        if value not in (None, '')
    ]
    return Block('facts', title, '', dict(facts=shown))
