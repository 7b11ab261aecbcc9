"""What the commands share: settings or a clear end, and the output of a result."""

import json
import os
import sys
from collections.abc import Callable, Coroutine
from typing import Any, NoReturn, TypeVar

import click
import uvloop

from consumer.settings import Settings, SettingsError, read_settings
from consumer.telemetry import configure_logging
from consumer.terminal import echo, echo_json, styled
from consumer.tracing import Tracing, asked_for, open_tracing

T = TypeVar("T")

FAILED = 1
WRONG_USAGE = 2

json_option = click.option("--json", "as_json", is_flag=True, help="Machine-readable: JSON on stdout and nothing else.")


def settings_or_exit() -> Settings:
    """The settings from the environment; without usable ones, a line for each problem and exit status 2."""
    try:
        return read_settings(os.environ)
    except SettingsError as error:
        exit_for(error)


def tracing_or_exit(settings: Settings) -> Tracing:
    """The tracing that the environment asks for; if that cannot be had, a line that says why and exit status 2."""
    if asked_for(os.environ):
        # What the collector does not take is told there.
        configure_logging(settings.log_format, settings.log_level, terminal=sys.stderr.isatty())
    try:
        return open_tracing(settings, os.environ)
    except SettingsError as error:
        exit_for(error)


def exit_for(error: SettingsError) -> NoReturn:
    """Say what is wrong with the settings and leave."""
    for problem in error.problems:
        complain(problem)
    sys.exit(WRONG_USAGE)


def complain(message: str) -> None:
    """One line to stderr."""
    echo(styled(message, fg="red"), err=True)


def print_json(value: object) -> None:
    """One JSON document in one line on stdout."""
    echo_json(json.dumps(value, ensure_ascii=False, separators=(",", ":")))


def run_async(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a coroutine to its end on uvloop, which turns faster than asyncio's own loop."""
    return uvloop.run(main())
