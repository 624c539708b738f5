"""Docstrings name classes as Sphinx does; Markdown shows code instead."""
import re

import griffe

ROLE = re.compile(r':(?:class|func|meth|mod):`~?([^`]+)`')


class Roles(griffe.Extension):
    """Show ``:class:`~package.Name``` as ``Name`` in code."""

    def on_object(self, *, obj: griffe.Object, **kwargs) -> None:
        if obj.docstring:
            obj.docstring.value = ROLE.sub(
                lambda role: f'`{role[1].rpartition(".")[2]}`',
                obj.docstring.value)
