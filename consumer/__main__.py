"""`neuroon-consumer`, which is `python -m consumer`: what runs first, before the imports, which take a second.

A signal that arrives meanwhile must end `run` all the same. As process 1 of a container it would be ignored without a
handler, and the platform would wait out its whole grace period, then kill.
"""

import os
import signal
import sys


def main() -> None:
    """The command line; see `consumer.cli`."""
    if sys.argv[1:2] == ["run"]:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, _leave)  # until `consumer.app` has handlers that drain
    from consumer.cli import main as command_line  # noqa: PLC0415 - the point of this module
    from consumer.cli.stdout import guard_stdout  # noqa: PLC0415 - the same

    guard_stdout()
    command_line()


def _leave(_number: int, _frame: object) -> None:
    """Status 0, as after a drain: it did what it was asked to. Nothing is open yet, so there is nothing to close."""
    os._exit(0)


if __name__ == "__main__":
    main()
