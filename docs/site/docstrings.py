"""What our docstrings have and mkdocstrings reads otherwise."""

import re

import griffe

ROLE = re.compile(r':(?:class|func|meth|mod):`~?([^`]+)`')


class OurDocstrings(griffe.Extension):
    """Sphinx's roles become code; ``Example`` is read as ``Examples`` are.

    ``Shape`` needs nothing: a section of another name is shown as a box.
    """

    def on_object(self, *, obj: griffe.Object, **kwargs) -> None:
        if obj.docstring:
            text = ROLE.sub(
                lambda role: f'`{role[1].rpartition(".")[2]}`',
                obj.docstring.value,
            )
            obj.docstring.value = re.sub(r'^Example:$', 'Examples:', text,
                                         flags=re.M)  # yapf: disable
