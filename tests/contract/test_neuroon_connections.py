"""Connections to Neuroon: kept while they are good, never waited for, and closed when nobody wants their answer."""

import asyncio
import gc
from collections.abc import Callable
from typing import Any

import pytest

from consumer.adapters import wire as module
from consumer.adapters.exchange import Connection
from consumer.adapters.neuroon import Neuroon
from consumer.core.outcome import Accepted, Refused, Reply, Unavailable
from tests.support.eventually import eventually
from tests.support.neuroon import RawServer, conversion, shop_at

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


async def post_twice(answer: bytes) -> tuple[list[Reply], int]:
    """Two orders in turn, and how many connections they took."""
    async with RawServer(answer) as server, Neuroon(timeout=5.0) as api:
        replies = [await api.post(conversion(), shop_at(server.url)) for _ in range(2)]
        return replies, server.connections


@pytest.mark.parametrize(
    ("answer", "connections"),
    [
        (OK, 1),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", 1),
        (b"HTTP/1.1 204 No Content\r\n\r\n", 1),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + OK, 1),
        (b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + OK, 1),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", 2),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", 2),
        (OK + b"HTTP/1.1 500 Nobody Asked\r\n\r\n", 2),
        (OK + b"nonsense", 2),
    ],
    ids=["length", "chunks", "none", "continue", "hints", "close", "1.0", "another answer", "nonsense"],
)
async def test_a_connection_is_kept_as_far_as_its_answer_allows(answer: bytes, connections: int) -> None:
    """An answer that says so, or is followed by bytes that nobody asked for, is the last one of its connection."""
    replies, made = await post_twice(answer)
    assert [reply.status for reply in replies] == [200 if b" 200 " in answer else 204] * 2
    assert made == connections


async def test_a_body_that_only_the_end_of_the_connection_ends() -> None:
    """RFC 9112, 6.3: without a length the body lasts until the server hangs up."""
    answer = b'HTTP/1.1 400 Bad Request\r\n\r\n{"message": "no"}'
    async with RawServer(answer, hang_up=True) as server, Neuroon(timeout=5.0) as api:
        assert await api.post(conversion(), shop_at(server.url)) == Refused(400, "no")


async def test_another_protocol_is_no_answer() -> None:
    """Nobody asked for an upgrade."""
    answer = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"
    replies, _ = await post_twice(answer)
    assert replies == [Unavailable("protocol error")] * 2


async def test_no_order_waits_for_another() -> None:
    """As many connections as orders in flight, however slow the server is."""
    async with RawServer(None) as server, Neuroon(timeout=30.0) as api:
        posts = [asyncio.create_task(api.post(conversion(), shop_at(server.url))) for _ in range(150)]
        await eventually(lambda: len(server.requests) == 150)
        for each in posts:
            each.cancel()
        await asyncio.gather(*posts, return_exceptions=True)


@pytest.fixture
def age(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Lets every connection have been idle for too long."""
    return lambda: monkeypatch.setattr(module, "KEEPALIVE_SECONDS", -1.0)


async def test_an_old_connection_is_given_up(age: Callable[[], None]) -> None:
    """The server may close it at any moment: an order that is under way then would be lost with it."""
    async with RawServer(OK) as server, Neuroon(timeout=5.0) as api:
        assert await api.post(conversion(), shop_at(server.url)) == Accepted(200)
        age()
        assert await api.post(conversion(), shop_at(server.url)) == Accepted(200)
        assert server.connections == 2


async def test_a_cancelled_order_takes_its_connection_along() -> None:
    """The server sees at once that nobody waits any more; the connection's next answer would be that order's."""
    gone = asyncio.Event()

    async def wait(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        asked.set()
        await reader.read()
        gone.set()
        writer.close()

    asked = asyncio.Event()
    async with await asyncio.start_server(wait, "127.0.0.1", 0) as server, Neuroon(timeout=30.0) as api:
        shop = shop_at(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        post = asyncio.create_task(api.post(conversion(), shop))
        async with asyncio.timeout(30):
            await asked.wait()
            post.cancel()
            await gone.wait()
    with pytest.raises(asyncio.CancelledError):
        await post


async def test_an_address_of_version_6(monkeypatch: pytest.MonkeyPatch) -> None:
    """Brackets belong to the Host header and not to the address (RFC 3986, 3.2.2)."""
    loop = asyncio.get_running_loop()
    connect, addresses = loop.create_connection, []

    async def to_version_4(factory: Callable[[], asyncio.Protocol], host: str, port: int, **named: Any) -> Any:
        addresses.append(host)
        return await connect(factory, "127.0.0.1", port, **named)  # not every machine has version 6

    async with RawServer(OK) as server, Neuroon(timeout=5.0) as api:
        monkeypatch.setattr(loop, "create_connection", to_version_4)
        url = server.url.replace("127.0.0.1", "[::1]")
        assert await api.post(conversion(), shop_at(url)) == Accepted(200)
        assert addresses == ["::1"]
        assert f"\r\nHost: {url.removeprefix('http://')}\r\n" in server.requests[0]


async def test_an_exchange_leaves_nothing_to_the_cycle_collector() -> None:
    """Parser and exchange know each other; left in a circle, they cost a busy consumer a tenth of its time."""
    rounds = 50
    async with RawServer(OK) as server, Neuroon(timeout=5.0) as api:
        shop = shop_at(server.url)
        assert await api.post(conversion(), shop) == Accepted(200)
        gc.collect()
        gc.disable()
        try:
            for _ in range(rounds):
                await api.post(conversion(), shop)
            assert gc.collect() < rounds
        finally:
            gc.enable()


async def test_giving_up_on_an_answer_that_is_there_leaves_the_connection_to_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is free from then on: to end it would end whatever was asked on it meanwhile."""
    free = module.Wire._free

    def freed(self: module.Wire, origin: module.Origin, connection: Connection) -> None:
        free(self, origin, connection)
        posting.cancel()

    async with RawServer(OK) as server, Neuroon(timeout=5.0) as api:
        shop = shop_at(server.url)
        posting = asyncio.ensure_future(api.post(conversion(), shop))
        with monkeypatch.context() as patched:
            patched.setattr(module.Wire, "_free", freed)
            with pytest.raises(asyncio.CancelledError):
                await posting
        assert await api.post(conversion(), shop) == Accepted(200)
        assert server.connections == 1
