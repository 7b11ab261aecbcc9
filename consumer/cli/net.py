"""What catches an exception that nothing else has caught: a person gets one line, and nothing that an event held."""

import errno
import sys
import traceback
from pathlib import Path
from typing import Any

import click

import consumer
from consumer.cli.common import FAILED, complain
from consumer.core.escaping import escaped
from consumer.terminal import echo

_PACKAGE = Path(consumer.__file__).parent


class Net(click.Group):
    """The command line as a whole. An unexpected exception ends it with status 1 and a line that says what and where.

    The exception's text is left out, because it may quote an event. With --debug the traceback is shown too, escaped.
    """

    def invoke(self, context: click.Context) -> Any:
        """Run the command. Usage errors, an abort and a pipe that nobody reads any more are click's own to handle."""
        try:
            return super().invoke(context)
        except click.ClickException as error:  # may name a file that somebody else has named
            shown = "\n".join(map(escaped, error.message.split("\n")))
            error.message = shown  # type: ignore[misc]  # final for subclasses; no other place sees them all
            raise
        except (click.Abort, click.exceptions.Exit, KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:
            if isinstance(error, OSError) and error.errno == errno.EPIPE:
                raise
            _complain(error, debug=context.params["debug"])
            sys.exit(FAILED)


def _complain(error: BaseException, *, debug: bool) -> None:
    if debug:
        for line in "".join(traceback.format_exception(error)).splitlines():
            echo(line, err=True)
    hint = "" if debug else "; `neuroon-consumer --debug COMMAND` shows the traceback, which may quote an event"
    complain(f"unexpected error: {_type_and_place(error)}{hint}")


def _type_and_place(error: BaseException) -> str:
    """Such as "KeyError at consumer/cli/ledger.py:72": the last place in this package. Of a group, the first error."""
    frames = traceback.extract_tb(error.__traceback__)
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
        frames += traceback.extract_tb(error.__traceback__)
    *_, frame = (each for each in frames if Path(each.filename).is_relative_to(_PACKAGE))
    place = Path(frame.filename).relative_to(_PACKAGE.parent)
    return f"{type(error).__name__} at {place}:{frame.lineno}"
