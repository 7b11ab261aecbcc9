"""Stdout that ends the command quietly when nobody reads it any more, as `| head` does.

Without this a `BrokenPipeError` would look like one of the broker's connection, and Python would fail once more when it
flushes at exit.
"""

import errno
import io
import os
import sys
from typing import NoReturn

from consumer.cli.common import FAILED, complain


class OutputClosedError(SystemExit):
    """Whoever read stdout is gone. Nothing is wrong: status 0. It is no OSError, so that nobody handles it as one."""


class _Stdout(io.TextIOWrapper):
    def write(self, text: str, /) -> int:
        try:
            return super().write(text)
        except OSError as error:
            _end(error)

    def flush(self) -> None:
        try:
            super().flush()
        except OSError as error:
            _end(error)


def guard_stdout() -> None:
    """From now on, what cannot be written to stdout ends the process: OutputClosedError, or status 1 and a line why."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        out = sys.stdout
        sys.stdout = _Stdout(out.buffer, out.encoding, out.errors, line_buffering=out.line_buffering)


def abandon_stdout() -> None:
    """Let what is still buffered go nowhere at exit, where it would fail or block once more."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.__stdout__.fileno() if sys.__stdout__ else 1)


def _end(error: OSError) -> NoReturn:
    abandon_stdout()
    if error.errno == errno.EPIPE:
        raise OutputClosedError(0) from error
    complain(f"stdout cannot be written: {error.strerror}")
    raise SystemExit(FAILED) from error
