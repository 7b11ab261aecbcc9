"""A log that nobody reads holds nobody up."""

import asyncio
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import TextIO

import pytest

from consumer import logsink
from consumer.devbroker import PrivateBroker
from consumer.logsink import LogSink
from consumer.sandbox import Sandbox
from tests.conftest import Names
from tests.support.broker import desk
from tests.support.events import order
from tests.support.eventually import eventually
from tests.support.program import Consumer, environment


@pytest.fixture
def pipe() -> Iterator[tuple[TextIO, TextIO]]:
    """Both ends of a pipe, which holds 64 KiB until somebody reads."""
    reading, writing = os.pipe()
    with open(reading) as reader, open(writing, "w") as writer:  # noqa: PTH123 - it is no path
        yield reader, writer


def test_lines_arrive_in_order() -> None:
    """Everything is written out by the time the sink is closed, in the order in which it came."""
    stream = io.StringIO()
    sink = LogSink(stream)
    for number in range(1_000):
        sink.write(f"{number}\n")
    sink.close()
    assert stream.getvalue().split() == [str(number) for number in range(1_000)]


def test_a_log_that_is_not_read(pipe: tuple[TextIO, TextIO], monkeypatch: pytest.MonkeyPatch) -> None:
    """What does not fit into a blocked stream waits, within bounds; what came beyond is counted in a line."""
    reader, writer = pipe
    monkeypatch.setattr(logsink, "WAITING_LINES", 100)
    sink = LogSink(writer)
    long = "x" * 100_000 + "\n"
    sink.write(long)
    eventually_taken(sink)
    for number in range(150):
        sink.write(f"{number}\n")
    assert reader.readline() == long
    assert [reader.readline() for _ in range(100)] == [f"{number}\n" for number in range(100)]
    assert json.loads(reader.readline()) == {"event": "log lines dropped", "level": "warning", "lines": 50}
    sink.close()


def eventually_taken(sink: LogSink) -> None:
    """Wait until the thread has taken what was written, and is blocked with it."""
    while sink._lines:
        sink._thread.join(0.01)


def test_a_log_whose_reader_is_gone(pipe: tuple[TextIO, TextIO]) -> None:
    """Nobody gets the lines, and nobody is disturbed."""
    reader, writer = pipe
    reader.close()
    sink = LogSink(writer)
    sink.write("x\n")
    sink.close()
    assert not sink._thread.is_alive()
    with pytest.raises(BrokenPipeError):  # of the buffer, which has kept what it could not write
        writer.close()


def start(environ: dict[str, str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", "consumer", "run"], env=environ, stderr=subprocess.PIPE)


async def test_orders_go_on(broker: PrivateBroker, names: Names) -> None:
    """A consumer whose log fills a pipe that nobody reads delivers all its orders, more than the pipe holds."""
    async with Sandbox() as sandbox, desk(broker.url, names) as there:
        environ = environment(broker.url, names, sandbox)
        async with Consumer(environ) as declaring:
            await declaring.consuming()
        await asyncio.gather(*(there.publish(order(f"ORD-{number}")) for number in range(1_500)))
        with start(environ) as program:
            try:
                await eventually(lambda: len(sandbox.orders) == 1_500, timeout=60)
            finally:
                program.kill()
