"""`neuroon-consumer`, which is `python -m consumer`: what runs first, before the imports, which take a second.

A signal that arrives meanwhile must end `run` all the same. As process 1 of a container it would be ignored without a
handler, and the platform would wait out its whole grace period, then kill.
"""

import io
import os
import signal
import sys


def main() -> None:
    """The command line; see `consumer.cli`."""
    if next((each for each in sys.argv[1:] if each != "--debug"), None) == "run":
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, _leave)  # until `consumer.app` has handlers that drain
    from consumer.cli import main as command_line  # noqa: PLC0415 - the point of this module
    from consumer.telemetry import configure_logging  # noqa: PLC0415 - the same

    # For commands that say nothing else of it. Without, libraries would log whole tracebacks, and structlog to stdout.
    configure_logging(None, "warning", terminal=sys.stderr.isatty())
    if isinstance(sys.stdout, io.TextIOWrapper):
        # In a locale that lacks a character of an id, as stderr does by itself.
        sys.stdout.reconfigure(errors="backslashreplace")
    from consumer.cli.stdout import guard_stdout  # noqa: PLC0415 - the same

    guard_stdout()
    command_line()


def _leave(_number: int, _frame: object) -> None:
    """Status 0, as after a drain: it did what it was asked to. Nothing is open yet, so there is nothing to close."""
    os._exit(0)


if __name__ == "__main__":
    main()
