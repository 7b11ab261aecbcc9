"""When the connection is to blame and not the request: sent once more on a new one, which costs nothing."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvloop

from consumer.adapters import wire
from consumer.adapters.exchange import Exchange
from consumer.adapters.neuroon import Neuroon
from consumer.core.outcome import Accepted, Misconfigured, Refused, Reply, Unavailable
from tests.support.neuroon import conversion, shop_at

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
Answer = bytes | Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Script:
    """A server whose connections each have answers of their own; after the last of them it hangs up when asked again.

    An answer that is a function does what it likes once the request's head is there.
    """

    def __init__(self, *connections: list[Answer]) -> None:
        self._left = list(connections)
        self.requests = self.connections = 0
        self._writers: list[asyncio.StreamWriter] = []

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        async with await asyncio.start_server(self._serve, "127.0.0.1", 0) as server:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            for each in self._writers:
                each.close()
                with contextlib.suppress(ConnectionError):
                    await each.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.append(writer)
        answers = self._left.pop(0)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            for answer in answers:
                head = await reader.readuntil(b"\r\n\r\n")
                self.requests += 1
                if callable(answer):
                    await answer(reader, writer)
                    continue
                length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
                await reader.readexactly(length)
                writer.write(answer)
            await reader.readuntil(b"\r\n\r\n")
            self.requests += 1
        writer.close()


def reset(writer: asyncio.StreamWriter) -> None:
    """Close, and let what was sent to us unread be answered with a reset."""
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def post_each(script: Script, orders: int, size: int = 1) -> list[Reply]:
    """So many orders in turn, with as many lines."""
    order = conversion(conversions=[{"productId": "SKU-1" * 20}] * size)
    async with script.serving() as url, Neuroon(timeout=20.0) as api:
        return [await api.post(order, shop_at(url)) for _ in range(orders)]


async def test_a_kept_connection_that_dies_when_asked_costs_nothing() -> None:
    """The server's goodbye and our request have crossed: nothing was answered, and the order goes out again."""
    script = Script([OK], [OK])
    assert await post_each(script, 2) == [Accepted(200)] * 2
    assert (script.connections, script.requests) == (2, 3)


async def test_it_is_sent_again_only_once() -> None:
    """A new connection that dies is a failure, and so is one that dies after the first byte of an answer."""
    script = Script([OK], [])
    assert await post_each(script, 2) == [Accepted(200), Unavailable("connection dropped")]
    assert (script.connections, script.requests) == (2, 3)

    async def begin(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 2")
        await writer.drain()
        writer.close()

    script = Script([OK, begin], [OK])
    assert await post_each(script, 3) == [Accepted(200), Unavailable("connection dropped"), Accepted(200)]


async def test_a_server_that_closes_idle_connections_costs_no_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whenever its goodbye comes, before an order or together with it; whether it names its time or not.

    The loop does not look whether a connection was closed, as if the goodbye were always still under way.
    """
    monkeypatch.setattr(wire, "LOOK_AFTER_SECONDS", 3600.0)
    connections: list[list[Answer]] = [[OK] for _ in range(20)]
    script = Script(*connections)
    assert await post_each(script, 20) == [Accepted(200)] * 20


@pytest.mark.parametrize(
    ("value", "seconds"),
    [(b"timeout=5, max=100", 4.0), (b"max=100,Timeout = 20", 19.0), (b"timeout=1", 0.5), (b"timeout=0", 0.0)],
)
async def test_how_long_a_server_keeps_a_connection(value: bytes, seconds: float) -> None:
    """As it says, less a margin for what is under way."""
    exchange = Exchange(lambda: None)
    exchange.feed(b"HTTP/1.1 200 OK\r\nKeep-Alive: " + value + b"\r\nContent-Length: 0\r\n\r\n")
    assert exchange.keep_seconds == seconds


async def test_a_connection_is_not_used_for_longer_than_the_server_keeps_it() -> None:
    """Its time is over, though it is still there: the next order goes to a new one, and both are well."""
    over = OK.replace(b"\r\n\r\n", b"\r\nKeep-Alive: timeout=0\r\n\r\n")
    script = Script([over, over], [over, over])
    assert await post_each(script, 2) == [Accepted(200)] * 2
    assert (script.connections, script.requests) == (2, 2)
    long = OK.replace(b"\r\n\r\n", b"\r\nKeep-Alive: timeout=600\r\n\r\n")
    script = Script([long, long])
    assert await post_each(script, 2) == [Accepted(200)] * 2
    assert (script.connections, script.requests) == (1, 2)


def answered(status: int, more: str = "") -> bytes:
    return f'HTTP/1.1 {status} No\r\n{more}Content-Length: 17\r\n\r\n{{"message": "no"}}'.encode()


async def test_who_is_not_meant_is_not_asked_again() -> None:
    """421: another connection may lead to the right server; if that one is wrong as well, it is an outage."""
    script = Script([OK, answered(421)], [OK])
    assert await post_each(script, 2) == [Accepted(200)] * 2
    assert (script.connections, script.requests) == (2, 3)
    script = Script([answered(421)], [OK, OK])
    assert await post_each(script, 2) == [Accepted(200)] * 2
    script = Script([answered(421)], [answered(421)])
    assert await post_each(script, 1) == [Unavailable("answered 421", 421)]
    script = Script([OK, answered(421)], [answered(421)], [answered(421)])
    assert await post_each(script, 2) == [Accepted(200), Unavailable("answered 421", 421)]


async def test_a_goodbye_of_408_is_about_the_connection() -> None:
    """Some servers say it when a connection was idle for long; on a new one it is an answer like any other."""
    script = Script([OK, answered(408)], [OK])
    assert await post_each(script, 2) == [Accepted(200)] * 2
    script = Script([answered(408)])
    assert await post_each(script, 1) == [Unavailable("answered 408", 408)]


LARGE = 20_000


# The loop under the tests, and the one under the program: each has its own order of reading and noticing an end.
LOOPS = pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])


@pytest.mark.parametrize("more", ["", "Connection: close\r\n"])
@LOOPS
def test_an_answer_before_the_body_was_read_is_used(run: Callable[..., list[Reply]], more: str) -> None:
    """413 or 401 by the head alone, and a reset for the rest; the next order finds a connection that works."""

    async def refuse(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answered(413, more))
        await writer.drain()
        reset(writer)

    script = Script([refuse], [refuse], [refuse])
    assert run(post_each(script, 3, LARGE)) == [Refused(413, "no")] * 3


async def test_an_answer_before_the_body_was_read_ends_its_connection() -> None:
    """The server says nothing of closing, and never reads the rest: the next order would wait behind that."""
    released = asyncio.Event()

    async def refuse(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.pause_reading()  # type: ignore[attr-defined]  # of asyncio's transports, any can
        writer.write(answered(413))
        await released.wait()

    script = Script([refuse], [OK])
    async with script.serving() as url, Neuroon(timeout=20.0) as api:
        order = conversion(conversions=[{"productId": "SKU-1" * 20}] * LARGE * 5)
        assert await api.post(order, shop_at(url)) == Refused(413, "no")
        assert await api.post(conversion(), shop_at(url)) == Accepted(200)
        released.set()


@LOOPS
def test_an_answer_before_anything_was_asked_is_used(run: Callable[..., list[Reply]]) -> None:
    """Who is full, or does not want us, may say so at once and hang up."""

    def refuse(listener: socket.socket) -> None:
        for _ in range(5):
            connection, _ = listener.accept()
            with connection:
                connection.sendall(answered(401))

    async def post(port: int) -> list[Reply]:
        async with Neuroon(timeout=20.0) as api:
            return [await api.post(conversion(), shop_at(f"http://127.0.0.1:{port}")) for _ in range(5)]

    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor() as threads:
        served = threads.submit(refuse, listener)  # in a thread, so that it is done before our loop comes to it
        assert run(post(listener.getsockname()[1])) == [Misconfigured(401, "no")] * 5
        served.result()


async def test_what_nobody_asked_for_ends_a_connection() -> None:
    """An answer that comes while a connection is idle is nobody's: the next order must not get it."""
    gone = asyncio.Event()

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(OK)
        await posted.wait()
        writer.write(answered(400))
        while await reader.read(4096):
            pass
        gone.set()

    posted, script = asyncio.Event(), Script([speak], [OK])
    async with script.serving() as url, Neuroon(timeout=20.0) as api, asyncio.timeout(60):
        assert await api.post(conversion(), shop_at(url)) == Accepted(200)
        posted.set()
        await gone.wait()
        assert await api.post(conversion(), shop_at(url)) == Accepted(200)


async def test_giving_up_before_anything_was_asked_leaves_no_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """It stands, and nobody has it yet: it is closed all the same."""
    gone = asyncio.Event()

    async def wait(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
        writer.close()
        gone.set()

    loop = asyncio.get_running_loop()
    connect = loop.create_connection

    async def given_up(*positional: Any, **named: Any) -> Any:
        try:
            return await connect(*positional, **named)
        finally:
            post.cancel()

    async with await asyncio.start_server(wait, "127.0.0.1", 0) as server, Neuroon(timeout=20.0) as api:
        shop = shop_at(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        post = asyncio.ensure_future(api.post(conversion(), shop))
        monkeypatch.setattr(loop, "create_connection", given_up)
        with pytest.raises(asyncio.CancelledError):
            await post
        async with asyncio.timeout(30):
            await gone.wait()
