"""Everything that the commands write for people, escaped by construction: see `core.escaping`.

Nothing else may use `click.echo` or make a `Console` (the linter holds it): a text is data, and only what is marked as
`styled` carries the sequences of a style.
"""

import codecs
import sys
from typing import Any

import click
from rich.console import Console
from rich.text import Text

from consumer.core.escaping import escaped, escaped_json

# Wider than any row: Rich cuts what does not fit, and an id that is cut is no id.
PIPED_WIDTH = 10_000


class Styled(str):
    """Text that is escaped and may be coloured. Whatever is joined to it gives an ordinary text, which is escaped."""

    __slots__ = ()


def styled(text: object, **style: Any) -> Styled:
    """The text, escaped, in a style of `click.style`."""
    return Styled(click.style(escaped(str(text)), **style))


def echo(*parts: str, err: bool = False) -> None:
    """Write one line, made of all parts. A line end in a part is shown as an escape."""
    click.echo("".join([part if isinstance(part, Styled) else escaped(part) for part in parts]), err=err)


def echo_json(document: str) -> None:
    """Write a JSON document to stdout; parsed, it is what it was."""
    encoding = codecs.lookup(sys.stdout.encoding or "utf-8").name
    click.echo(escaped_json(document, ascii_only=encoding != "utf-8"))


class _PlainConsole(Console):
    """A string is shown as it is: no markup, no emoji, no control sequence. Styles come with `Text`."""

    def render_str(self, text: str, **options: Any) -> Text:
        """Every string that Rich prints comes by here, a table's titles and cells included."""
        return super().render_str(escaped(text), **options)


def console(*, err: bool = False) -> Console:
    """For tables: as wide as the terminal, and as what is in them where they go to a file or a pipe."""
    is_terminal = (sys.stderr if err else sys.stdout).isatty()
    width = None if is_terminal else PIPED_WIDTH
    return _PlainConsole(stderr=err, width=width, markup=False, emoji=False, highlight=False)
