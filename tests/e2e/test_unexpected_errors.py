"""What no one foresaw ends a command with one line, and quotes nothing of an event."""

import asyncio
import json
import subprocess
import sys

import pytest
from click.testing import CliRunner, Result

from consumer.cli import main
from tests.conftest import Names
from tests.support.events import order
from tests.support.program import ROOT, command, environment

SECRET = "ORD-1 of buyer@example.com\x1b[2J"


def run(*arguments: str, error: BaseException, monkeypatch: pytest.MonkeyPatch) -> Result:
    """Run a command that fails with `error`."""

    def fail() -> None:
        raise error

    monkeypatch.setattr(sys.modules["consumer.cli.schema"], "json_schema", fail)
    return CliRunner().invoke(main, arguments)


@pytest.mark.parametrize(
    ("error", "name"),
    [
        (ValueError(SECRET), "ValueError"),
        (OSError(5, SECRET), "OSError"),
        (ExceptionGroup(SECRET, [ExceptionGroup("", [KeyError(SECRET)]), ValueError()]), "KeyError"),
        (asyncio.CancelledError(SECRET), "CancelledError"),
        (EOFError(SECRET), "EOFError"),
    ],
)
def test_an_unexpected_error_is_one_line(error: BaseException, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its type (of several errors, of the first), the place in this package and exit status 1; its text is left out."""
    result = run("schema", error=error, monkeypatch=monkeypatch)
    [line] = result.stderr.splitlines()
    assert line.startswith(f"unexpected error: {name} at consumer/cli/schema.py:")
    assert "--debug" in line
    assert (result.exit_code, result.stdout, "ORD-1" in line) == (1, "", False)


def test_the_traceback_is_shown_when_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """With --debug: all of it, and what it quotes of an event is escaped."""
    result = run("--debug", "schema", error=ValueError(SECRET), monkeypatch=monkeypatch)
    first, *_, text, last = result.stderr.splitlines()
    assert first == "Traceback (most recent call last):"
    assert text == r"ValueError: ORD-1 of buyer@example.com\x1b[2J"
    assert last.startswith("unexpected error: ValueError at consumer/cli/schema.py:")
    assert result.exit_code == 1


def test_a_closed_pipe_stays_what_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """`... | head -1` ends the command without a word."""
    result = run("schema", error=BrokenPipeError(32, "Broken pipe"), monkeypatch=monkeypatch)
    assert (result.exit_code, result.output) == (1, "")


@pytest.mark.parametrize("arguments", [("schema", "xml"), ("schema", "--no"), ("nothing",), ("ledger", "prune")])
def test_wrong_usage_stays_what_it_was(arguments: tuple[str, ...]) -> None:
    """Click's own message and exit status 2."""
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2
    assert "Usage: " in result.stderr
    assert "unexpected" not in result.stderr


LOGGING = """
import logging, structlog, sys
import consumer.cli

def noisy():
    logging.getLogger("asyncio").error("secret", exc_info=ValueError("secret"))
    structlog.get_logger().warning("noticed", exc_info=ValueError("secret"))
    return {}

sys.modules["consumer.cli.schema"].json_schema = noisy
sys.argv = ["neuroon-consumer", "schema"]
from consumer.__main__ import main
main()
"""


def test_what_is_logged_goes_to_stderr_without_its_text() -> None:
    """Of a command that has no log of its own, too: stdout holds the result, and no line has a traceback."""
    ended = subprocess.run([sys.executable, "-c", LOGGING], cwd=ROOT, capture_output=True, text=True, check=True)
    assert json.loads(ended.stdout) == {}
    library, ours = map(json.loads, ended.stderr.splitlines())
    assert (library["event"], library["error"], library["logger"]) == ("library", "ValueError", "asyncio")
    assert (ours["event"], ours["error"]) == ("noticed", "ValueError")
    assert "secret" not in ended.stderr


async def test_an_id_beyond_the_locale_is_no_error(names: Names) -> None:
    """A stream that cannot take a character gets an escape for it; JSON still gives the original back."""
    environ = environment("amqp://unused", names, PYTHONIOENCODING="latin-1")
    event = order("\u65e5 \u00e9 \U0001f600")
    status, shown, _ = await command(environ, "convert", stdin=event, encoding="latin-1")
    assert (status, "\\u65e5 \u00e9 \\U0001f600" in shown) == (0, True)
    status, told, _ = await command(environ, "convert", "--json", stdin=event, encoding="latin-1")
    assert (status, json.loads(told)["payload"]["orderId"]) == (0, "\u65e5 \u00e9 \U0001f600")
