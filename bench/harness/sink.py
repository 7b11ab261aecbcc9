"""The other end, as a process of its own: an HTTP server that does as little as it can, and knows what arrived when.

    python -m bench.harness.sink [CERTIFICATE KEY]

Commands come as JSON lines on stdin, answers go as JSON lines to stdout; `SinkProcess` speaks with it. What it
costs is part of the results: 15 us of CPU a request when it is busy, up to 100 when each comes alone and in two pieces.
"""

import asyncio
import json
import ssl
import sys
import threading
import time
from array import array
from pathlib import Path
from typing import Any, cast

import uvloop

_BODY = b'{"status":"recorded"}'
_HEAD = b"HTTP/1.1 %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
RECORDED = _HEAD % (b"200 OK", len(_BODY), _BODY)
NO_KEY = _HEAD % (b"401 Unauthorized", 0, b"")


class Book:
    """What arrived when. `marks` are numbers of distinct orders; reaching one is told at once."""

    def __init__(self, orders: int, marks: list[int], delay: float) -> None:
        self.times = array("d", bytes(8 * orders))
        self.delay = delay
        self.requests = self.distinct = self.duplicates = self.keyless = 0
        self._marks = sorted(set(marks), reverse=True)

    def arrived(self, body: bytes) -> None:
        """Enter one conversion; ValueError or IndexError for one that is none of ours."""
        self.requests += 1
        colon = body.index(b":", body.index(b'"orderId"'))
        end = body.index(b'"', body.index(b'"', colon) + 1)
        number = int(body[end - 8 : end])
        if self.times[number]:
            self.duplicates += 1
            return
        self.times[number] = now = time.monotonic()
        self.distinct += 1
        if self._marks and self.distinct == self._marks[-1]:
            tell(mark=self._marks.pop(), at=now, cpu=time.process_time())

    def report(self) -> dict[str, float]:
        """All counts, and the CPU seconds of this process so far."""
        return {
            "requests": self.requests,
            "distinct": self.distinct,
            "duplicates": self.duplicates,
            "keyless": self.keyless,
            "cpu": time.process_time(),
            "at": time.monotonic(),
        }


class Sink:
    """The book of the current run, behind a server that outlives it."""

    def __init__(self) -> None:
        self.book = Book(0, [], 0.0)

    def obey(self, line: str) -> None:
        """Carry out one command."""
        command: dict[str, Any] = json.loads(line)
        if "reset" in command:
            self.book = Book(**command["reset"])
        if "times" in command:
            Path(command["times"]).write_bytes(self.book.times.tobytes())
        tell(**self.book.report())


class Connection(asyncio.Protocol):
    """One client's connection, kept alive for as long as it likes."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the event loop."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by inheritance

    def data_received(self, data: bytes) -> None:
        """Called by the event loop; answers every request that is complete."""
        self._received = self._received + data if self._received else data
        while (end := self._received.find(b"\r\n\r\n")) >= 0:
            head = self._received[:end].lower() + b"\r\n"
            start = head.find(b"content-length:")
            until = end + 4 + (int(head[start + 15 : head.index(b"\r\n", start)]) if start >= 0 else 0)
            if len(self._received) < until:
                return
            body, self._received = self._received[end + 4 : until], self._received[until:]
            self._answer(head, body)

    def _answer(self, head: bytes, body: bytes) -> None:
        book = self._sink.book
        if b"\r\nx-shop-api-key:" not in head:
            book.keyless += 1
            self._transport.write(NO_KEY)
            return
        if body:  # a GET asks whether the API is there, as this program does after it was not
            book.arrived(body)
        if book.delay:
            asyncio.get_running_loop().call_later(book.delay, self._record)
        else:
            self._transport.write(RECORDED)

    def _record(self) -> None:
        if not self._transport.is_closing():  # a client that waits no longer
            self._transport.write(RECORDED)


def tell(**facts: float) -> None:
    """One line to whoever started this process."""
    sys.stdout.write(json.dumps(facts) + "\n")
    sys.stdout.flush()


async def serve(papers: list[str]) -> None:
    """Listen on two ports, the second with TLS if there are papers, until stdin ends."""
    loop, sink, over = asyncio.get_running_loop(), Sink(), asyncio.Event()
    ports = {}
    contexts: dict[str, ssl.SSLContext | None] = {"port": None}
    if papers:
        contexts["tls"] = context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(*papers)
    for name, each in contexts.items():
        server = await loop.create_server(lambda: Connection(sink), "127.0.0.1", 0, ssl=each, backlog=2048)
        ports[name] = server.sockets[0].getsockname()[1]

    def listen() -> None:
        for line in sys.stdin:
            loop.call_soon_threadsafe(sink.obey, line)
        loop.call_soon_threadsafe(over.set)

    threading.Thread(target=listen, daemon=True).start()
    tell(**ports)
    await over.wait()


if __name__ == "__main__":
    uvloop.run(serve(sys.argv[1:]))
