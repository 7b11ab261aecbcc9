"""What ends a `dlq` command early: SIGINT, SIGTERM, SIGHUP. Nothing stays held, and no half-written file is left."""

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from consumer.cli.common import FAILED
from consumer.cli.stdout import abandon_stdout

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def handled_by(handler: Callable[[], None]) -> Iterator[None]:
    """Call `handler` on each of these signals. One that is ignored stays so, as SIGHUP under nohup.

    These are Python's handlers and not the event loop's: they run also while a write to a stalled pipe blocks the loop.
    """
    before = {number: signal.getsignal(number) for number in ENDING}
    ours = [number for number in ENDING if before[number] is not signal.SIG_IGN]
    for number in ours:
        signal.signal(number, lambda _number, _frame: handler())
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, before[number] or signal.SIG_DFL)


def leave() -> None:
    """End the command with status 1, by way of all that has to be closed and removed. No stalled pipe keeps it."""
    abandon_stdout()
    raise SystemExit(FAILED)


@contextmanager
def first_signal(calls: Callable[[], object]) -> Iterator[None]:
    """In an event loop: the first signal calls this there; the second one leaves at once, with status 1."""
    loop = asyncio.get_running_loop()
    called = False

    def handler() -> None:
        nonlocal called
        if called:
            os._exit(FAILED)  # the operator insists: what is held goes back when the connection ends
        called = True
        loop.call_soon_threadsafe(calls)

    with handled_by(handler):
        yield
