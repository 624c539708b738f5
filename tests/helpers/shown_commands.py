"""The commands that the README and the pages in docs/ show."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from mmanchor_cli import COMMANDS

ROOT = Path(__file__).parents[2]
PAGES = {
    path.name: path.read_text()
    for path in (ROOT / 'README.md', *sorted((ROOT / 'docs').glob('*.md')))
}
VARIABLE = re.compile(r'([A-Z_]+)=(.*)', re.S)
PROGRAMS = (
    r'(?:[A-Z_]+=\S+ +)*'
    r'(?:python|pip|make|mim|sbatch|git|tools/\S+'
    rf'|mmanchor (?:{"|".join(COMMANDS)})) '
)


@dataclass(frozen=True)
class Shown:
    """A command as it is shown: ``VARIABLE=VALUE ... PROGRAM ARGUMENT ...``"""

    text: str
    variables: dict[str, str]
    words: list[str]


def parse(line: str) -> Shown:
    """A command from a line of a shell; of ``mmanchor NAME``, its tool."""
    words = shlex.split(line, comments=True)
    variables = {}
    while words and (found := VARIABLE.fullmatch(words[0])):
        variables[found[1]] = found[2]
        words = words[1:]
    if words[:1] == ['mmanchor'] and words[1] in COMMANDS:
        tool, _ = COMMANDS[words[1]]
        words = ['python', f'tools/{tool}', *words[2:]]
    return Shown(' '.join(line.split()), variables, words)


def blocks(language: str, page: str) -> list[str]:
    """What is fenced as a language on a page."""
    return re.findall(rf'^```{language}\n(.*?)^```', PAGES[page], re.M | re.S)


def shown_commands(page: str) -> list[Shown]:
    """The commands in a page's ``bash`` blocks, in order."""
    lines = [
        line
        for block in blocks('bash', page)
        for line in block.replace('\\\n', ' ').splitlines()
    ]
    return [found for line in lines if (found := parse(line)).words]


def inline_commands(page: str) -> list[Shown]:
    """The commands within a page's sentences; N stands for a number."""
    text = re.sub(r'^```.*?^```', '', PAGES[page], flags=re.M | re.S)
    found = re.findall(r'`((?:[A-Z_]+=\S+ )*python tools/[^`]+)`', text)
    return [
        parse(re.sub(r'\bN\b', '1', ' '.join(line.split()))) for line in found
    ]


def saved_files(page: str) -> dict[str, str]:
    """The files that a page asks its reader to save: name -> text."""
    return dict(
        re.findall(
            r'`(\w+\.py)`:\n\n```python\n(.*?)^```', PAGES[page], re.M | re.S
        )
    )


def unseen_commands(page: str) -> list[str]:
    """Lines that look like commands and are in no ``bash`` block."""
    rest = re.sub(
        r'^```(?:bash|python|diff)\n.*?^```',
        '',
        PAGES[page],
        flags=re.M | re.S,
    )
    return re.findall(rf'^(?: {{4}})?{PROGRAMS}.*$', rest, re.M)
